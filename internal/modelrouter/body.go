package modelrouter

import (
	"encoding/json"
	"errors"

	"github.com/tidwall/gjson"
)

// span is a part of a request's bytes.
type span struct{ from, to int }

// findModel returns the top-level "model" of a JSON object, and where its values
// are. When the key occurs more than once, the last one counts, as it does for
// the parsers of the providers; all of them are returned, so that no other
// reading can see another model.
func findModel(body []byte) (model string, at []span, err error) {
	if !gjson.ValidBytes(body) {
		var v any
		if err := json.Unmarshal(body, &v); err != nil { // which says where
			return "", nil, err
		}
		return "", nil, errors.New("it is not valid JSON")
	}
	whole := gjson.ParseBytes(body)
	if !whole.IsObject() {
		return "", nil, errors.New("it is not an object")
	}
	whole.ForEach(func(key, value gjson.Result) bool {
		if key.String() != "model" {
			return true
		}
		if value.Type != gjson.String {
			err = errors.New("model is not a string")
			return false
		}
		at = append(at, span{value.Index, value.Index + len(value.Raw)})
		err = json.Unmarshal([]byte(value.Raw), &model)
		return err == nil
	})
	if err == nil && model == "" {
		err = errors.New("model is missing")
	}
	return model, at, err
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
