package monitor_test

import (
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"conclave"
)

// pageTypes are the root types that the page reads; each has an interface of
// the same name in web/src/types.ts.
func pageTypes() []reflect.Type {
	return []reflect.Type{
		reflect.TypeFor[conclave.Usage](), reflect.TypeFor[conclave.Report](), reflect.TypeFor[conclave.Run](), reflect.TypeFor[conclave.Step](),
		reflect.TypeFor[conclave.Approval](), reflect.TypeFor[conclave.RunDetail](), reflect.TypeFor[conclave.PlanStep](), reflect.TypeFor[conclave.Option](),
		reflect.TypeFor[conclave.Question](), reflect.TypeFor[conclave.Change](), reflect.TypeFor[conclave.Comment](), reflect.TypeFor[conclave.PlanContent](),
		reflect.TypeFor[conclave.Plan](), reflect.TypeFor[conclave.PlanDiff](), reflect.TypeFor[conclave.Subject](), reflect.TypeFor[conclave.Rule](), reflect.TypeFor[conclave.Weight](),
		reflect.TypeFor[conclave.Motion](), reflect.TypeFor[conclave.Ballot](), reflect.TypeFor[conclave.Decision](), reflect.TypeFor[conclave.MotionStatus](),
		reflect.TypeFor[conclave.Message](), reflect.TypeFor[conclave.Agent](), reflect.TypeFor[conclave.CardTrust](), reflect.TypeFor[conclave.CardInterface](), reflect.TypeFor[conclave.Event](), reflect.TypeFor[conclave.Finding](),
		reflect.TypeFor[conclave.ReviewFinding](), reflect.TypeFor[conclave.ReviewReply](), reflect.TypeFor[conclave.VoteReply](), reflect.TypeFor[conclave.Check](),
		reflect.TypeFor[conclave.Evidence](), reflect.TypeFor[conclave.Licence](), reflect.TypeFor[conclave.Caller](), reflect.TypeFor[conclave.Approve](), reflect.TypeFor[conclave.TrustScore](),
		reflect.TypeFor[conclave.KeyMetric](), reflect.TypeFor[conclave.LoadStats](), reflect.TypeFor[conclave.AgentLoad](), reflect.TypeFor[conclave.RoleLoad](),
		reflect.TypeFor[conclave.QueueLoad](), reflect.TypeFor[conclave.ConsensusStats](), reflect.TypeFor[conclave.SubjectStat](), reflect.TypeFor[conclave.ThresholdStat](),
		reflect.TypeFor[conclave.Checkpoint](), reflect.TypeFor[conclave.AuditProblem](), reflect.TypeFor[conclave.AuditReport](),
	}
}

var (
	interfaceLine = regexp.MustCompile(`(?ms)^export interface (\w+)(?: extends (\w+))? \{\n(.*?)^\}`)
	fieldLine     = regexp.MustCompile(`(?m)^  (\w+)(\??): (.+);$`)
	aliasLine     = regexp.MustCompile(`(?m)^export type (\w+) = (.+);$`)
)

// TestPageKnowsEveryField compares web/src/types.ts with the root types: the
// same fields, left out or null in the same cases, of the same kind.
func TestPageKnowsEveryField(t *testing.T) {
	source, err := os.ReadFile("../../web/src/types.ts")
	if err != nil {
		t.Fatal(err)
	}
	aliases := map[string]string{}
	for _, m := range aliasLine.FindAllStringSubmatch(string(source), -1) {
		aliases[m[1]] = m[2]
	}
	known := map[string]map[string]string{}
	for _, m := range interfaceLine.FindAllStringSubmatch(string(source), -1) {
		fields := map[string]string{}
		for name, kind := range known[m[2]] {
			fields[name] = kind
		}
		for _, f := range fieldLine.FindAllStringSubmatch(m[3], -1) {
			fields[f[1]+f[2]] = f[3]
		}
		known[m[1]] = fields
	}
	for _, typ := range pageTypes() {
		got, ok := known[typ.Name()]
		if !ok {
			t.Errorf("types.ts has no interface %s", typ.Name())
			continue
		}
		want := map[string]string{}
		jsonFields(typ, want)
		for name, kind := range want {
			declared, ok := got[name]
			if !ok {
				t.Errorf("%s: types.ts lacks %q", typ.Name(), name)
			} else if form(declared, aliases) != kind {
				t.Errorf("%s.%s: types.ts says %s, Go sends %s", typ.Name(), name, declared, kind)
			}
		}
		for name := range got {
			if _, ok := want[name]; !ok {
				t.Errorf("%s: types.ts has %q, which Go does not send so", typ.Name(), name)
			}
		}
		delete(known, typ.Name())
	}
	for name := range known {
		t.Errorf("types.ts has an interface %s that pageTypes does not list", name)
	}
}

// jsonFields collects a struct's JSON fields, as types.ts writes them: the name,
// with a question mark when it may be left out, and the form of its value.
func jsonFields(typ reflect.Type, into map[string]string) {
	for f := range typ.Fields() {
		if f.Anonymous {
			jsonFields(f.Type, into)
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		optional := strings.Contains(options, "omitempty") || strings.Contains(options, "omitzero")
		kind := goForm(f.Type)
		switch f.Type.Kind() {
		case reflect.Slice, reflect.Pointer, reflect.Map:
			if !optional && kind != "any" {
				kind += " | null"
			}
		}
		if optional {
			name += "?"
		}
		into[name] = kind
	}
}

func goForm(typ reflect.Type) string {
	switch typ {
	case reflect.TypeFor[time.Time]():
		return "string"
	case reflect.TypeFor[json.RawMessage]():
		return "any"
	}
	switch typ.Kind() {
	case reflect.Pointer:
		return goForm(typ.Elem())
	case reflect.Slice:
		return goForm(typ.Elem()) + "[]"
	case reflect.Map:
		return "Record<" + goForm(typ.Key()) + ", " + goForm(typ.Elem()) + ">"
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Struct:
		return typ.Name()
	default:
		return "number"
	}
}

// form reduces a type of types.ts to what Go's side can be compared with: a
// union of words is a string.
func form(declared string, aliases map[string]string) string {
	base, null := strings.CutSuffix(declared, " | null")
	list := strings.HasSuffix(base, "[]")
	base = strings.TrimSuffix(base, "[]")
	if alias, ok := aliases[base]; ok {
		base = alias
	}
	switch {
	case base == "unknown":
		base = "any"
	case strings.HasPrefix(base, "'"):
		base = "string"
	}
	if list {
		base += "[]"
	}
	if null {
		base += " | null"
	}
	return base
}
