package mcpwire

import (
	"encoding/json"
	"reflect"
	"strings"
	"time"

	"conclave/internal/restwire"
)

// inputDepth is how far a schema looks into objects: every word of it costs each
// session of each client, so what is deeper is checked, but not described.
const inputDepth = 3

// inputSchema describes the input of an operation, with the doc tags as
// descriptions.
func inputSchema(t reflect.Type) map[string]any {
	s := describe(t, inputDepth)
	var required []string
	for _, f := range members(t) {
		if !f.optional {
			required = append(required, f.name)
		}
	}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

// outputSchema describes the members of a result, and no deeper; a list is the
// member items of an object, because a result must be an object.
func outputSchema(t reflect.Type) map[string]any {
	if t.Kind() == reflect.Slice {
		return map[string]any{"type": "object", "required": []string{"items"},
			"properties": map[string]any{"items": map[string]any{"type": "array", "items": map[string]any{"type": "object"}}}}
	}
	properties := map[string]any{}
	for _, f := range members(t) {
		s := describe(f.typ, 0)
		delete(s, "items")
		delete(s, "enum") // Go writes the zero value of what was not set
		if kind := f.typ.Kind(); s["type"] != nil && (kind == reflect.Pointer || kind == reflect.Slice || kind == reflect.Map) {
			s["type"] = []any{s["type"], "null"}
		}
		properties[f.name] = s
	}
	return map[string]any{"type": "object", "properties": properties}
}

// describe returns the schema of a type, looking depth levels into objects.
func describe(t reflect.Type, depth int) map[string]any {
	switch t {
	case reflect.TypeFor[time.Time]():
		return map[string]any{"type": "string"}
	case reflect.TypeFor[json.RawMessage]():
		return map[string]any{}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return describe(t.Elem(), depth)
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return map[string]any{"type": "integer"}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.String:
		s := map[string]any{"type": "string"}
		if values := restwire.Enum(t); values != nil {
			s["enum"] = values
		}
		return s
	case reflect.Slice:
		return map[string]any{"type": "array", "items": describe(t.Elem(), depth)}
	case reflect.Struct:
		if depth == 0 {
			return map[string]any{"type": "object"}
		}
		properties := map[string]any{}
		for _, f := range members(t) {
			s := describe(f.typ, depth-1)
			if f.doc != "" {
				s["description"] = f.doc
			}
			properties[f.name] = s
		}
		return map[string]any{"type": "object", "properties": properties}
	}
	return map[string]any{"type": "object"} // a map
}

// member is a field of a struct as JSON has it.
type member struct {
	name, doc string
	typ       reflect.Type
	optional  bool
}

func members(t reflect.Type) []member {
	var out []member
	for _, f := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue // embedded: its fields are visible themselves
		}
		out = append(out, member{name: name, doc: f.Tag.Get("doc"), typ: f.Type, optional: strings.Contains(options, "omit")})
	}
	return out
}
