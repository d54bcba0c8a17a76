package restwire_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"conclave"
	"conclave/internal/restwire"
)

const goodToken = "good"

var everything = conclave.Caller{
	Tenant: conclave.DefaultTenant, Human: "ada",
	Permissions: []conclave.Permission{conclave.PermitRead, conclave.PermitSpeak, conclave.PermitWork, conclave.PermitApprove, conclave.PermitService, conclave.PermitAdmin},
}

// authenticate knows the tokens of who may do everything, nothing, or read, and
// one at which it fails itself.
func authenticate(r *http.Request) (conclave.Caller, error) {
	switch r.Header.Get("Authorization") {
	case "Bearer " + goodToken:
		return everything, nil
	case "Bearer nothing":
		return conclave.Caller{Tenant: conclave.DefaultTenant, Human: "nobody"}, nil
	case "Bearer read":
		return conclave.Caller{Tenant: conclave.DefaultTenant, Human: "reader", Permissions: []conclave.Permission{conclave.PermitRead}}, nil
	}
	if r.Header.Get("Authorization") == "Bearer outage" {
		return conclave.Caller{}, errors.New("the key store says hunter2")
	}
	return conclave.Caller{}, conclave.Errorf(conclave.ErrDenied, "no such token")
}

// serve starts a server for tables and returns its address.
func serve(t testing.TB, tables []conclave.Table, prefix string) string {
	t.Helper()
	h, err := restwire.NewHandler(restwire.Options{Tables: tables, Authenticate: authenticate, Prefix: prefix,
		Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func dial(t testing.TB, base, prefix string) *restwire.Client {
	t.Helper()
	c := restwire.Dial(restwire.DialOptions{Base: base, Prefix: prefix,
		Token: func(context.Context) (string, error) { return goodToken, nil }})
	t.Cleanup(c.Close)
	return c
}

// implOf returns the client's side of a table.
func implOf(c *restwire.Client, s conclave.Service) any {
	switch s {
	case conclave.ServicePlans:
		return c.Plans()
	case conclave.ServiceHub:
		return c.Hub()
	case conclave.ServiceCouncil:
		return c.Council()
	case conclave.ServiceWorktree:
		return c.Worktrees()
	case conclave.ServiceWorkflow:
		return c.Workflows()
	case conclave.ServiceModels:
		return c.Models()
	case conclave.ServiceMonitor:
		return c.Events()
	}
	return nil
}

// Every operation carries every field of its input and output through both ends.
func TestEveryOperationKeepsEveryField(t *testing.T) {
	for _, prefix := range []string{"", "/api"} {
		e := &echo{}
		c := dial(t, serve(t, e.tables(), prefix), prefix)
		for _, table := range e.tables() {
			for _, op := range table.Operations {
				if op.Effect == conclave.Streams {
					continue
				}
				t.Run(strings.TrimPrefix(prefix+"/", "/")+op.Name, func(t *testing.T) {
					rapid.Check(t, func(rt *rapid.T) {
						in := draw(rt, op.In, op.Method() == http.MethodGet)
						out := draw(rt, op.Out, false)
						e.set(out, nil)
						ctx := conclave.WithCaller(t.Context(), everything)
						got, err := op.Call(ctx, implOf(c, table.Service), in)
						if err != nil {
							rt.Fatalf("in %+v: %v", in, err)
						}
						asked, caller := e.asked()
						same(rt, "input", asked, in)
						same(rt, "output", got, out)
						if !reflect.DeepEqual(caller, everything) {
							rt.Fatalf("the caller became %+v", caller)
						}
					})
				})
			}
		}
	}
}

func same(t *rapid.T, what string, got, want any) {
	if !reflect.DeepEqual(got, want) {
		a, _ := json.Marshal(got)
		b, _ := json.Marshal(want)
		t.Fatalf("%s became\n%s\nwas\n%s", what, a, b)
	}
}

// draw makes a random value of a type as it is after a trip through JSON. For
// a query, values hold nothing that a list in a query can't.
func draw(t *rapid.T, typ reflect.Type, query bool) any {
	v := reflect.New(typ).Elem()
	fill(t, v, "", query, 0)
	return v.Interface()
}

func fill(t *rapid.T, v reflect.Value, name string, query bool, depth int) {
	switch v.Interface().(type) {
	case time.Time:
		at := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "seconds"), rapid.Int64Range(0, 999999999).Draw(t, "nanoseconds")).UTC()
		v.Set(reflect.ValueOf(at))
		return
	case json.RawMessage:
		v.Set(reflect.ValueOf(json.RawMessage(`{"n":12345678901234567890,"z":1.0,"a":["é",null]}`)))
		return
	}
	if values := restwire.Enum(v.Type()); values != nil {
		v.SetString(rapid.SampledFrom(values).Draw(t, "value"))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			fill(t, v.Field(i), strings.Split(f.Tag.Get("json"), ",")[0], query, depth+1)
		}
	case reflect.Pointer:
		if rapid.Bool().Draw(t, "set") {
			v.Set(reflect.New(v.Type().Elem()))
			fill(t, v.Elem(), name, query, depth+1)
		}
	case reflect.Slice:
		n := rapid.IntRange(1, 2).Draw(t, "length")
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(t, v.Index(i), "", query, depth+1)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(t, key, "", query, depth+1)
		fill(t, value, "", query, depth+1)
		v.SetMapIndex(key, value)
	case reflect.String:
		s := rapid.StringMatching(`[^,\x00]{1,12}`).Draw(t, "text")
		if query {
			s = strings.TrimSpace(s) + "x" // a list in a query is trimmed
		}
		if name == "id" {
			s += "id" // neither "." nor ".."
		}
		v.SetString(s)
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "flag"))
	case reflect.Int, reflect.Int64:
		if name == "wait_ms" {
			v.SetInt(rapid.Int64Range(0, 60000).Draw(t, "wait"))
			return
		}
		v.SetInt(rapid.Int64().Draw(t, "integer"))
	case reflect.Float64:
		v.SetFloat(rapid.Float64Range(-1e9, 1e9).Draw(t, "number"))
	default:
		t.Fatalf("can't make a %s", v.Type())
	}
}

// Every kind of error is the same on both sides of every operation, and the text
// of an error without a kind stays inside.
func TestEveryKindOfErrorCrossesTheWire(t *testing.T) {
	e := &echo{}
	c := dial(t, serve(t, e.tables(), ""), "")
	ctx := conclave.WithCaller(t.Context(), everything)
	for _, table := range e.tables() {
		for _, op := range table.Operations {
			if op.Effect == conclave.Streams {
				continue
			}
			in := rapid.Custom(func(rt *rapid.T) any {
				rapid.Bool().Draw(rt, "so that an empty input draws something")
				return draw(rt, op.In, op.Method() == http.MethodGet)
			}).Example(1)
			for _, kind := range conclave.Kinds() {
				e.set(nil, conclave.Errorf(kind, "because of %s", op.Name))
				_, err := op.Call(ctx, implOf(c, table.Service), in)
				if conclave.KindOf(err) != kind || err.Error() != "because of "+op.Name {
					t.Errorf("%s: sent %v, got %v: %v", op.Name, kind, conclave.KindOf(err), err)
				}
			}
			e.set(nil, errors.New("password is hunter2"))
			_, err := op.Call(ctx, implOf(c, table.Service), in)
			if !errors.Is(err, conclave.ErrInternal) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s: an error without a kind became %v", op.Name, err)
			}
		}
	}
}
