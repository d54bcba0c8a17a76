package modelrouter

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

// span is a part of a request's bytes.
type span struct{ from, to int }

// findModel returns the top-level "model" of a JSON object, and where its values
// are. When the key occurs more than once, the last one counts, as it does for
// the parsers of the providers; all of them are returned, so that no other
// reading can see another model.
func findModel(body []byte) (model string, at []span, err error) {
	d := json.NewDecoder(bytes.NewReader(body))
	t, err := d.Token()
	if err != nil {
		return "", nil, err
	}
	if t != json.Delim('{') {
		return "", nil, errors.New("it is not an object")
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return "", nil, err
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return "", nil, err
		}
		if key != "model" {
			continue
		}
		if err := json.Unmarshal(value, &model); err != nil {
			return "", nil, errors.New("model is not a string")
		}
		end := int(d.InputOffset())
		at = append(at, span{end - len(value), end})
	}
	if _, err := d.Token(); err != nil {
		return "", nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return "", nil, errors.New("something follows the object")
	}
	if model == "" {
		return "", nil, errors.New("model is missing")
	}
	return model, at, nil
}

// withModel returns the body with the values at these places replaced, and
// every other byte as it is.
func withModel(body []byte, at []span, model string) ([]byte, error) {
	value, err := json.Marshal(model)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, len(body)+len(at)*len(value))
	from := 0
	for _, s := range at {
		out = append(out, body[from:s.from]...)
		out = append(out, value...)
		from = s.to
	}
	return append(out, body[from:]...), nil
}
