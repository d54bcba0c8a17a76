package modelwire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"conclave"
)

// object is a JSON object whose fields are taken one by one: what is left over
// has not been understood.
type object struct {
	at     string // its place in the request, for errors
	fields map[string]json.RawMessage
}

func parse(at string, raw []byte) (object, error) {
	o := object{at: at}
	if err := json.Unmarshal(raw, &o.fields); err != nil || o.fields == nil {
		return o, conclave.Errorf(conclave.ErrInvalid, "%s: want a JSON object", orBody(at))
	}
	return o, nil
}

func orBody(at string) string {
	if at == "" {
		return "the request"
	}
	return at
}

// name is the place of a field.
func (o object) name(field string) string {
	if o.at == "" {
		return field
	}
	return o.at + "." + field
}

// raw takes a field as it is; null is no field.
func (o object) raw(field string) json.RawMessage {
	v := o.fields[field]
	delete(o.fields, field)
	if string(v) == "null" {
		return nil
	}
	return v
}

// take decodes a field, and reports whether it was there.
func (o object) take(field string, into any) (bool, error) {
	v := o.raw(field)
	if v == nil {
		return false, nil
	}
	if err := json.Unmarshal(v, into); err != nil {
		return false, conclave.Errorf(conclave.ErrInvalid, "%s: want %s", o.name(field), want(into))
	}
	return true, nil
}

// text takes a string.
func (o object) text(field string) (string, error) {
	var s string
	_, err := o.take(field, &s)
	return s, err
}

func want(into any) string {
	switch into.(type) {
	case *string:
		return "a string"
	case *bool:
		return "true or false"
	case *int64:
		return "a whole number"
	case *float64:
		return "a number"
	case *[]string:
		return "an array of strings"
	case *[]json.RawMessage:
		return "an array"
	}
	return "an object"
}

// ignore takes fields that change nothing on the other wire.
func (o object) ignore(fields ...string) {
	for _, f := range fields {
		delete(o.fields, f)
	}
}

// neutral takes a field that means nothing when it has this value, such as a
// default that was written out.
func (o object) neutral(field string, values ...string) {
	if slices.Contains(values, string(bytes.TrimSpace(o.fields[field]))) {
		delete(o.fields, field)
	}
}

// rest refuses what was not taken.
func (o object) rest(to string) error {
	for _, field := range slices.Sorted(maps.Keys(o.fields)) {
		if string(o.fields[field]) != "null" {
			return refuse(o.name(field), to)
		}
	}
	return nil
}

// refuse names what the other wire can't say.
func refuse(field, to string) error {
	return conclave.Errorf(conclave.ErrInvalid, "%s can't be translated for %s provider, and no provider that takes it serves this model; leave it out, or ask for another model", field, to)
}

// parts is content: a string, or an array of objects.
func (o object) parts(field string) (text string, parts []object, err error) {
	v := o.raw(field)
	if v == nil {
		return "", nil, nil
	}
	if json.Unmarshal(v, &text) == nil {
		return text, nil, nil
	}
	parts, err = list(o.name(field), v)
	return "", parts, err
}

func list(at string, raw json.RawMessage) ([]object, error) {
	var items []json.RawMessage
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &items); err != nil {
			return nil, conclave.Errorf(conclave.ErrInvalid, "%s: want an array", at)
		}
	}
	all := make([]object, 0, len(items))
	for i, item := range items {
		o, err := parse(fmt.Sprintf("%s.%d", at, i), item)
		if err != nil {
			return nil, err
		}
		all = append(all, o)
	}
	return all, nil
}

// fields is a JSON object in the making.
type fields map[string]any

// put sets a field that has a value.
func (f fields) put(name string, raw json.RawMessage) {
	if raw != nil {
		f[name] = raw
	}
}

// encode is json.Marshal that leaves <, > and & alone: arguments and schemas
// keep their text.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// isObject reports whether arguments of a tool are what both wires call valid.
func isObject(text string) bool {
	return strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), "{") && json.Valid([]byte(text))
}
