package a2awire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/a2aproject/a2a-go/v2/a2a"
)

// MaxBody is the largest request that a server reads: an assignment with a diff
// and its evidence fits many times over.
const MaxBody = 16 << 20

// maxDepth is how deep a request's JSON may be nested. It is what protocol
// buffers' parsers allow.
const maxDepth = 100

const (
	plainJSON   = "application/json"
	a2aJSON     = "application/a2a+json"
	eventStream = "text/event-stream"
)

// readBody reads a request's JSON: within the limits of size and depth, with the
// names of fields as the SDK knows them.
func readBody(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(r.Body)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, a2a.NewError(a2a.ErrInvalidRequest, "the request is larger than 16 MiB")
	case err != nil:
		return nil, a2a.NewError(a2a.ErrParseError, "the request body could not be read")
	case depth(body) > maxDepth:
		return nil, a2a.NewError(a2a.ErrInvalidRequest, fmt.Sprintf("the JSON is nested deeper than %d levels", maxDepth))
	}
	return body, nil
}

// isJSON reports whether a body is said to be JSON.
func isJSON(h http.Header) bool {
	t, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	return err == nil && (t == plainJSON || t == a2aJSON)
}

// depth is how deep the brackets of a JSON text go.
func depth(text []byte) int {
	deepest, now := 0, 0
	inString := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{', c == '[':
			now++
			deepest = max(deepest, now)
		case c == '}', c == ']':
			now--
		}
	}
	return deepest
}

// decode reads a value that a client sent. What is wrong with it is the
// protocol's error, and says where.
func decode(text []byte, into any) error {
	err := json.Unmarshal(text, into)
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &syntax):
		return a2a.NewError(a2a.ErrParseError, fmt.Sprintf("the body is not JSON: %v, at byte %d", syntax, syntax.Offset))
	case errors.As(err, &kind):
		where := kind.Field
		if where == "" {
			where = "the body"
		}
		return a2a.NewError(a2a.ErrInvalidParams, fmt.Sprintf("%s can't be a JSON %s", where, kind.Value))
	}
	return a2a.NewError(a2a.ErrInvalidParams, err.Error())
}

var snakeKey = regexp.MustCompile(`"[a-z]+(_[a-z]+)+"\s*:`)

// camelCase gives fields their names in JSON where a client wrote their names in
// the protocol's .proto file: ProtoJSON takes both. What lies in metadata and
// data is the client's own and stays as it is.
func camelCase(text []byte) []byte {
	if !snakeKey.Match(text) || !json.Valid(text) { // what is not JSON is for decode to refuse
		return text
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var value any
	if d.Decode(&value) != nil {
		return text
	}
	out, err := json.Marshal(camelKeys(value))
	if err != nil {
		return text
	}
	return out
}

func camelKeys(value any) any {
	switch v := value.(type) {
	case []any:
		for i := range v {
			v[i] = camelKeys(v[i])
		}
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, child := range v {
			name := camel(key)
			if _, both := v[name]; both && name != key {
				continue
			}
			if name != "metadata" && name != "data" {
				child = camelKeys(child)
			}
			out[name] = child
		}
		return out
	}
	return value
}

// camelQuery does the same for the parameters of a GET.
func camelQuery(query url.Values) url.Values {
	out := url.Values{}
	for key, values := range query {
		out[camel(key)] = append(out[camel(key)], values...)
	}
	return out
}

func camel(name string) string {
	words := strings.Split(name, "_")
	for i, w := range words[1:] {
		if w != "" {
			words[i+1] = strings.ToUpper(w[:1]) + w[1:]
		}
	}
	return strings.Join(words, "")
}
