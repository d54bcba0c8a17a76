package restwire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/validation"

	"conclave"
)

// keyField is the input field that makes a repeated call harmless.
const keyField = "idempotency_key"

// Inputs reads the inputs of operations strictly: an unknown field, a wrong
// type or a missing field is an ErrInvalid that names the field and says what
// would be right.
type Inputs struct {
	registry huma.Registry
	byName   map[string]*input
}

// input is how the input of one operation is read.
type input struct {
	op     conclave.Operation
	typ    reflect.Type
	fields []field
	inBody bool   // what is not in the path comes from the body, not from the query
	ref    string // of the schema
	schema *huma.Schema
}

// NewInputs prepares to read the inputs of the tables' operations. ErrInvalid
// when an operation's input can't be: it is no struct, a path field is none of
// its fields, or a query would have to hold an object.
func NewInputs(tables []conclave.Table) (*Inputs, error) {
	x := &Inputs{registry: newInputRegistry(), byName: map[string]*input{}}
	top := map[reflect.Type]bool{}
	for _, t := range tables {
		for _, op := range t.Operations {
			in := &input{op: op, typ: op.In, inBody: op.Method() != http.MethodGet && op.Method() != http.MethodDelete}
			if op.Effect == conclave.Streams {
				in.typ = reflect.TypeFor[conclave.EventFilter]()
			}
			if x.byName[op.Name] != nil {
				return nil, conclave.Errorf(conclave.ErrInvalid, "two operations are called %s", op.Name)
			}
			if err := in.prepare(); err != nil {
				return nil, err
			}
			s := x.registry.Schema(in.typ, true, op.Name)
			in.ref, in.schema = s.Ref, x.registry.SchemaFromRef(s.Ref)
			top[in.typ] = true
			x.byName[op.Name] = in
		}
	}
	finishInputs(x.registry, top)
	return x, nil
}

func (in *input) prepare() error {
	if in.typ == nil || in.typ.Kind() != reflect.Struct {
		return conclave.Errorf(conclave.ErrInvalid, "the input of %s is a %v, not a struct", in.op.Name, in.typ)
	}
	in.fields = jsonFields(in.typ)
	inPath := pathFields(in.op.Path())
	for _, name := range inPath {
		if in.field(name) == nil {
			return conclave.Errorf(conclave.ErrInvalid, "the path of %s has {%s}, which is no field of %v", in.op.Name, name, in.typ)
		}
	}
	for _, f := range in.fields {
		if (!in.inBody || slices.Contains(inPath, f.name)) && !plain(f.typ) {
			return conclave.Errorf(conclave.ErrInvalid, "the field %s of %s can't be in a path or query: it is a %v", f.name, in.op.Name, f.typ)
		}
	}
	return nil
}

// plain reports whether a value fits into a path or query.
func plain(t reflect.Type) bool {
	if t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Int, reflect.Int64, reflect.Float64:
		return true
	}
	return false
}

func (in *input) field(name string) *field {
	for i := range in.fields {
		if in.fields[i].name == name {
			return &in.fields[i]
		}
	}
	return nil
}

func (in *input) keyed() bool { return in.op.Effect == conclave.Changes && in.field(keyField) != nil }

// Decode reads the whole input of an operation from a JSON object; an empty
// body is an empty object.
func (x *Inputs) Decode(operation string, body []byte) (any, error) {
	in := x.byName[operation]
	if in == nil {
		return nil, conclave.Errorf(conclave.ErrNotFound, "no operation is called %q", operation)
	}
	return x.fromBody(in, body, nil)
}

// fromBody reads the input from a JSON object and from values that came
// elsewhere in the request, which must not contradict it.
func (x *Inputs) fromBody(in *input, body []byte, elsewhere map[string]any) (any, error) {
	args := map[string]any{}
	if len(bytes.TrimSpace(body)) > 0 {
		if err := json.Unmarshal(body, &args); err != nil {
			return nil, malformed(err)
		}
		if args == nil {
			return nil, wholeInput(http.StatusBadRequest, "malformed input: want a JSON object, not null")
		}
	} else {
		body = []byte("{}")
	}
	for name, value := range elsewhere {
		if given, ok := args[name]; ok && fmt.Sprint(given) != fmt.Sprint(value) {
			return nil, &inputError{status: http.StatusUnprocessableEntity, fields: []FieldError{{Field: name,
				Message: fmt.Sprintf("the body says %q, the rest of the request says %q", fmt.Sprint(given), fmt.Sprint(value))}}}
		}
		args[name] = value
	}
	return x.build(in, args, body, elsewhere)
}

// fromQuery reads the input from the query and from values that came elsewhere
// in the request.
func (x *Inputs) fromQuery(in *input, query url.Values, elsewhere map[string]any) (any, error) {
	args := map[string]any{}
	for name, values := range query {
		f := in.field(name)
		switch {
		case elsewhere[name] != nil:
			return nil, &inputError{status: http.StatusUnprocessableEntity, fields: []FieldError{{Field: name,
				Message: "belongs into the path, not into the query"}}}
		case f == nil:
			args[name] = values // validation says which name is meant
		case f.typ.Kind() == reflect.Slice:
			if list := parseList(f.typ.Elem(), values); len(list) > 0 {
				args[name] = list
			}
		case len(values) > 1:
			return nil, &inputError{status: http.StatusUnprocessableEntity, fields: []FieldError{{Field: name,
				Message: fmt.Sprintf("given %d times", len(values))}}}
		case values[0] != "":
			args[name] = parseValue(f.typ, values[0])
		}
	}
	for name, value := range elsewhere {
		args[name] = value
	}
	return x.build(in, args, nil, args)
}

// parseList reads a list that was given as repeated values or as one with commas.
func parseList(t reflect.Type, values []string) []any {
	if len(values) == 1 {
		values = strings.Split(values[0], ",")
	}
	var out []any
	for _, v := range values {
		if v = strings.TrimSpace(v); v != "" {
			out = append(out, parseValue(t, v))
		}
	}
	return out
}

// parseValue reads a value of a type; what can't be read stays a string, and
// validation says what was expected.
func parseValue(t reflect.Type, s string) any {
	switch t.Kind() {
	case reflect.Bool:
		if v, err := strconv.ParseBool(s); err == nil {
			return v
		}
	case reflect.Int, reflect.Int64:
		if v, err := strconv.ParseInt(s, 10, 64); err == nil {
			return v
		}
	case reflect.Float64:
		if v, err := strconv.ParseFloat(s, 64); err == nil {
			return v
		}
	}
	return s
}

// build validates args and returns a value of the operation's input type, read
// from body and then from overlay. The body itself is read, not args, so that
// large integers and raw JSON stay as they were sent.
func (x *Inputs) build(in *input, args map[string]any, body []byte, overlay map[string]any) (any, error) {
	res := &huma.ValidateResult{}
	huma.Validate(x.registry, in.schema, huma.NewPathBuffer(nil, 0), huma.ModeWriteToServer, args, res)
	if wrong := append(x.unknownFields(in.schema, args, ""), explain(res.Errors)...); len(wrong) > 0 {
		slices.SortFunc(wrong, func(a, b FieldError) int { return strings.Compare(a.Field, b.Field) })
		return nil, &inputError{status: http.StatusUnprocessableEntity, fields: wrong}
	}
	out := reflect.New(in.typ)
	if body != nil {
		if err := json.Unmarshal(body, out.Interface()); err != nil {
			return nil, malformed(err)
		}
	}
	if len(overlay) > 0 {
		text, err := json.Marshal(overlay)
		if err != nil {
			return nil, fmt.Errorf("encoding the parameters of %s: %w", in.op.Name, err)
		}
		if err := json.Unmarshal(text, out.Interface()); err != nil {
			return nil, malformed(err)
		}
	}
	return out.Elem().Interface(), nil
}

// malformed says why JSON could not be read.
func malformed(err error) error {
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return wholeInput(http.StatusBadRequest, fmt.Sprintf("malformed JSON at byte %d: %s", syntax.Offset, syntax.Error()))
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		status := http.StatusUnprocessableEntity
		if wrong.Field == "" {
			status = http.StatusBadRequest
		}
		return &inputError{status: status, fields: []FieldError{{Field: wrong.Field,
			Message: fmt.Sprintf("expected %s, got a JSON %s", jsonName(wrong.Type), wrong.Value)}}}
	}
	return wholeInput(http.StatusBadRequest, "malformed JSON: "+err.Error())
}

// jsonName says what JSON must hold for a Go type.
func jsonName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		return "object"
	case reflect.Slice, reflect.Array:
		return "array"
	case reflect.Bool:
		return "boolean"
	case reflect.String:
		return "string"
	}
	return "number in range"
}

// explain turns validation errors into words that name the field and say what
// would be right.
func explain(errs []error) []FieldError {
	var out []FieldError
	for _, err := range errs {
		detail, ok := errors.AsType[*huma.ErrorDetail](err)
		switch {
		case !ok:
			out = append(out, FieldError{Message: err.Error()})
		case detail.Message == validation.MsgUnexpectedProperty:
			// unknownFields says it better.
		default:
			f := FieldError{Field: detail.Location, Message: detail.Message}
			if name, ok := requiredName(f.Message); ok {
				f.Field, f.Message = join(f.Field, name), "required, but missing"
			}
			out = append(out, f)
		}
	}
	return out
}

// requiredName returns the field that huma's message says is missing.
func requiredName(message string) (string, bool) {
	before, after, _ := strings.Cut(validation.MsgExpectedRequiredProperty, "%s")
	name, ok := strings.CutPrefix(message, before)
	if !ok {
		return "", false
	}
	return strings.CutSuffix(name, after)
}

// unknownFields finds the fields of a value that its schema does not have, and
// says which known one is meant. A field in other letter case is another field.
func (x *Inputs) unknownFields(s *huma.Schema, value any, at string) []FieldError {
	if s.Ref != "" {
		s = x.registry.SchemaFromRef(s.Ref)
	}
	var out []FieldError
	switch value := value.(type) {
	case []any:
		for i, item := range value {
			if s.Items != nil {
				out = append(out, x.unknownFields(s.Items, item, fmt.Sprintf("%s[%d]", at, i))...)
			}
		}
	case map[string]any:
		if open, _ := s.AdditionalProperties.(bool); s.AdditionalProperties == nil || open {
			return nil // raw JSON
		}
		for name, member := range value {
			if p := s.Properties[name]; p != nil {
				out = append(out, x.unknownFields(p, member, join(at, name))...)
			} else if each, ok := s.AdditionalProperties.(*huma.Schema); ok {
				out = append(out, x.unknownFields(each, member, join(at, name))...)
			} else {
				out = append(out, FieldError{Field: join(at, name), Message: unknown(name, s.Properties)})
			}
		}
	}
	return out
}

func unknown(name string, properties map[string]*huma.Schema) string {
	return "unknown field; " + conclave.DidYouMean(name, slices.Sorted(maps.Keys(properties)))
}

func join(parent, name string) string {
	if parent == "" {
		return name
	}
	return parent + "." + name
}
