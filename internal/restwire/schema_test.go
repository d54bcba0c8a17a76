package restwire_test

import (
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"

	"conclave"
)

// description is what a test reads of an OpenAPI document.
type description struct {
	OpenAPI string
	Paths   map[string]map[string]struct {
		OperationID string
		Summary     string
		Tags        []string
		Permission  string `json:"x-permission"`
		Parameters  []struct {
			Name, In, Description string
			Required              bool
		}
		RequestBody *struct {
			Content map[string]struct{ Schema json.RawMessage }
		}
		Responses map[string]struct {
			Content map[string]struct{ Schema json.RawMessage }
		}
	}
	Components json.RawMessage
}

func describeEcho(t *testing.T, prefix string) description {
	t.Helper()
	e := &echo{}
	resp, body := send(t, "GET", serve(t, e.tables(), prefix)+prefix+"/openapi.json", "", "Authorization", "")
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("status %d, %s", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	var d description
	if err := json.Unmarshal([]byte(body), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// compile makes a validator of a schema that may refer to the document's components.
func compile(t *testing.T, d description, schema json.RawMessage) *jsonschema.Schema {
	t.Helper()
	var whole map[string]any
	for key, part := range map[string]json.RawMessage{"schema": schema, "components": d.Components} {
		if whole == nil {
			whole = map[string]any{}
		}
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(string(part)))
		if err != nil {
			t.Fatal(err)
		}
		whole[key] = v
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource("https://conclave.test/openapi.json", whole); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("https://conclave.test/openapi.json#/schema")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func instance(t rapid.TB, v any) any {
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	out, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestDescriptionHasEveryOperation(t *testing.T) {
	e := &echo{}
	d := describeEcho(t, "/api")
	if !strings.HasPrefix(d.OpenAPI, "3.1") {
		t.Errorf("OpenAPI %q", d.OpenAPI)
	}
	for _, table := range e.tables() {
		for _, op := range table.Operations {
			got, ok := d.Paths["/api"+op.Path()][strings.ToLower(op.Method())]
			if !ok || got.OperationID != op.Name || got.Summary != op.Summary || got.Permission != string(op.Permission) ||
				!slices.Equal(got.Tags, []string{string(table.Service)}) {
				t.Errorf("%s is described as %+v", op.Name, got)
			}
			for _, p := range got.Parameters {
				if inPath := strings.Contains(op.Path(), "{"+p.Name+"}"); inPath != (p.In == "path") {
					t.Errorf("%s: parameter %+v", op.Name, p)
				}
			}
			if _, ok := got.Responses["default"].Content["application/problem+json"]; !ok {
				t.Errorf("%s: errors are not described", op.Name)
			}
		}
	}
	watch := d.Paths["/api/events/watch"]["get"]
	if _, ok := watch.Responses["200"].Content["text/event-stream"]; !ok {
		t.Errorf("the stream is described as %+v", watch.Responses)
	}
	i := slices.IndexFunc(watch.Parameters, func(p struct {
		Name, In, Description string
		Required              bool
	}) bool {
		return p.Name == "after"
	})
	if i < 0 || watch.Parameters[i].Description != "Only events with a higher seq" {
		t.Errorf("the doc tag of after is not in %+v", watch.Parameters)
	}
}

// Whatever a service returns and a client sends is what the document says, with
// nothing set and with everything set.
func TestDescriptionIsTrue(t *testing.T) {
	e := &echo{}
	d := describeEcho(t, "")
	for _, table := range e.tables() {
		for _, op := range table.Operations {
			if op.Effect == conclave.Streams {
				continue
			}
			described := d.Paths[op.Path()][strings.ToLower(op.Method())]
			out := compile(t, d, described.Responses["200"].Content["application/json"].Schema)
			t.Run(op.Name, func(t *testing.T) {
				if op.Out.Kind() != reflect.Slice { // a list without entries is not null, as TestEmptyListIsAList says
					if err := out.Validate(instance(t, reflect.Zero(op.Out).Interface())); err != nil {
						t.Errorf("nothing set: %v", err)
					}
				}
				var in *jsonschema.Schema
				if described.RequestBody != nil {
					in = compile(t, d, described.RequestBody.Content["application/json"].Schema)
				}
				rapid.Check(t, func(rt *rapid.T) {
					if err := out.Validate(instance(rt, draw(rt, op.Out, false))); err != nil {
						rt.Fatalf("output: %v", err)
					}
					if in == nil {
						return
					}
					sent := instance(rt, draw(rt, op.In, op.Method() == http.MethodGet)).(map[string]any)
					for _, p := range described.Parameters {
						if p.In == "path" {
							delete(sent, p.Name)
						}
					}
					if err := in.Validate(sent); err != nil {
						rt.Fatalf("input: %v", err)
					}
				})
				if in != nil {
					if err := in.Validate(map[string]any{"nonsense": true}); err == nil {
						t.Error("nonsense passes as input")
					}
				}
			})
		}
	}
}
