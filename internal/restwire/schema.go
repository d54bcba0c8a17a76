package restwire

import (
	"reflect"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"conclave"
)

const schemaPrefix = "#/components/schemas/"

// newInputRegistry makes the schemas of inputs. They have names of their own,
// because the same Go type is judged differently coming in and going out.
func newInputRegistry() huma.Registry {
	return huma.NewMapRegistry(schemaPrefix, func(t reflect.Type, hint string) string {
		return huma.DefaultSchemaNamer(t, hint) + "Input"
	})
}

// finishInputs completes the schemas of inputs once all are registered: known
// values, and no required fields below the top, where one Go type serves both
// the question and the answer and the service judges what it needs.
func finishInputs(r huma.Registry, top map[reflect.Type]bool) {
	for name, s := range r.Map() {
		t := r.TypeFromRef(schemaPrefix + name)
		if !top[t] {
			s.Required = nil
		}
		for _, f := range jsonFields(t) {
			values := enumOf(f.typ)
			if values == nil {
				continue
			}
			target := s.Properties[f.name]
			if target.Items != nil {
				target = target.Items
			} else if !top[t] {
				values = append([]any{""}, values...) // Go writes the zero value of what was not set
			}
			target.Enum = values
		}
		s.PrecomputeMessages()
	}
}

// finishOutputs completes the schemas of outputs: known values, null where Go
// writes it, and room for fields of later versions.
func finishOutputs(r huma.Registry) {
	for name, s := range r.Map() {
		s.AdditionalProperties = nil
		for _, f := range jsonFields(r.TypeFromRef(schemaPrefix + name)) {
			p := s.Properties[f.name]
			if values := enumOf(f.typ); values != nil && p.Items != nil {
				p.Items.Enum = values
			} else if values != nil {
				p.Enum = append([]any{""}, values...) // Go writes the zero value of what was not set
			}
			if f.typ.Kind() == reflect.Pointer && p.Ref != "" && slices.Contains(s.Required, f.name) {
				s.Properties[f.name] = &huma.Schema{
					Description: p.Description,
					AnyOf:       []*huma.Schema{{Ref: p.Ref}, {Type: "null"}},
				}
			}
		}
	}
}

// enumOf returns the known values of a type or of its elements.
func enumOf(t reflect.Type) []any {
	if t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	var out []any
	for _, v := range Enum(t) {
		out = append(out, v)
	}
	return out
}

// describe returns the OpenAPI 3.1 document of the tables.
func describe(o Options, in *Inputs) *huma.OpenAPI {
	outputs := huma.NewMapRegistry(schemaPrefix, huma.DefaultSchemaNamer)
	problem := &huma.Response{
		Description: "What went wrong",
		Content:     map[string]*huma.MediaType{problemType: {Schema: outputs.Schema(reflect.TypeFor[Problem](), true, "")}},
	}
	doc := &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info:    &huma.Info{Title: o.Title, Version: o.Version},
		Components: &huma.Components{
			SecuritySchemes: map[string]*huma.SecurityScheme{
				"bearer": {Type: "http", Scheme: "bearer", BearerFormat: "JWT"},
				"apiKey": {Type: "apiKey", In: "header", Name: "x-api-key"},
			},
		},
		Security: []map[string][]string{{"bearer": {}}, {"apiKey": {}}},
	}
	for _, t := range o.Tables {
		for _, op := range t.Operations {
			if op.Effect == conclave.Streams && o.eventsOf(t) == nil {
				continue
			}
			doc.AddOperation(describeOperation(o.Prefix, t.Service, op, in, outputs, problem))
		}
	}
	finishOutputs(outputs)
	schemas := outputs.Map()
	for name, s := range in.registry.Map() {
		schemas[name] = s
	}
	doc.Components.Schemas = outputs
	return doc
}

func describeOperation(prefix string, service conclave.Service, op conclave.Operation, in *Inputs, outputs huma.Registry, problem *huma.Response) *huma.Operation {
	d := &huma.Operation{
		OperationID: op.Name, Method: op.Method(), Path: prefix + op.Path(), Summary: op.Summary,
		Tags:       []string{string(service)},
		Extensions: map[string]any{"x-permission": op.Permission},
		Responses:  map[string]*huma.Response{"default": problem},
	}
	input := in.byName[op.Name]
	inPath := pathFields(op.Path())
	for _, f := range input.fields {
		p := &huma.Param{Name: f.name, In: "query", Schema: input.schema.Properties[f.name],
			Description: input.schema.Properties[f.name].Description, Required: slices.Contains(input.schema.Required, f.name)}
		if slices.Contains(inPath, f.name) {
			p.In, p.Required = "path", true
		} else if input.inBody {
			continue
		}
		d.Parameters = append(d.Parameters, p)
	}
	if input.inBody {
		d.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"application/json": {Schema: bodySchema(input, inPath)},
		}}
	}
	if input.keyed() {
		d.Parameters = append(d.Parameters, &huma.Param{Name: keyHeader, In: "header",
			Description: "The same key gives the same result once", Schema: &huma.Schema{Type: huma.TypeString}})
	}
	ok := &huma.Response{Description: "Done"}
	if op.Effect == conclave.Streams {
		ok.Description = "Events as they happen; the id of each is its seq"
		ok.Content = map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString}}}
		d.Parameters = append(d.Parameters, &huma.Param{Name: lastEventHeader, In: "header",
			Description: "Only events with a higher seq; counts more than after", Schema: &huma.Schema{Type: huma.TypeString}})
	} else {
		s := outputs.Schema(op.Out, true, op.Name)
		if op.Out.Kind() == reflect.Slice {
			s.Nullable = false // an empty list is [], see writeResult
		}
		ok.Content = map[string]*huma.MediaType{"application/json": {Schema: s}}
		if op.Out.Kind() == reflect.Slice {
			ok.Content[linesType] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString}}
		}
	}
	d.Responses["200"] = ok
	return d
}

// bodySchema is the input without the fields that are in the path.
func bodySchema(in *input, inPath []string) *huma.Schema {
	if len(inPath) == 0 {
		return &huma.Schema{Ref: in.ref}
	}
	s := &huma.Schema{Type: huma.TypeObject, AdditionalProperties: false, Properties: map[string]*huma.Schema{}}
	for name, p := range in.schema.Properties {
		if !slices.Contains(inPath, name) {
			s.Properties[name] = p
		}
	}
	for _, name := range in.schema.Required {
		if !slices.Contains(inPath, name) {
			s.Required = append(s.Required, name)
		}
	}
	return s
}
