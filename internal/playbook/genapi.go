package playbook

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Window is the rate limit's window as Go.
func (g *genService) Window() string {
	return map[string]string{"second": "time.Second", "minute": "time.Minute", "hour": "time.Hour"}[g.Features.RateWindow]
}

// PasswordMin is the shortest password that the service takes.
func (g *genService) PasswordMin() int {
	if g.Account != nil {
		if f := g.Account.field("password"); f != nil && f.MinLen > 0 {
			return f.MinLen
		}
	}
	return 8
}

// MaxFailures is how many failed logins an account may have.
func (g *genService) MaxFailures() int { return cmp.Or(g.Auth.Failures, 10) }

// LockedMinutes is how long failed logins count.
func (g *genService) LockedMinutes() int { return cmp.Or(g.Auth.Locked, 15) }

// Port is what the program listens on unless told otherwise.
func (g *genService) Port() string {
	if g.Features.Port != "" {
		return g.Features.Port
	}
	return "8080"
}

// TextFields are the JSON names of every textual field, for search.
func (g *genService) TextFields() []string {
	names := map[string]bool{}
	for _, e := range g.Entities {
		for _, f := range e.Stored {
			switch f.Field.Type {
			case Bool, Int, Decimal, Timestamp, Date, Reference, List:
			default:
				names[f.Field.Name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// needOf is the Go literal of who may do an operation.
func (e *genEntity) needOf(op string) string {
	auth := e.service.Auth
	for _, r := range e.service.RulesOf(e.Noun, RuleAccess) {
		if r.Verb == op {
			var roles []string
			for _, role := range withAdmin(r.Fields) {
				roles = append(roles, fmt.Sprintf("%s.Role%s", e.Pkg, goName(role)))
			}
			return fmt.Sprintf("need{login: true, roles: []string{%s}}", strings.Join(roles, ", "))
		}
	}
	for _, r := range e.service.RulesOf(e.Noun, RuleOpen) {
		if r.Verb == op {
			return map[string]string{"": "need{}", "login": "need{login: true}"}[r.Value]
		}
	}
	if auth.Required || len(e.service.RulesOf(e.Noun, RuleOwn)) > 0 {
		return "need{login: true}"
	}
	return "need{}"
}

// withAdmin adds the administrator, who may do whatever another role may.
func withAdmin(roles []string) []string {
	if slices.Contains(roles, "admin") {
		return roles
	}
	return append(slices.Clone(roles), "admin")
}

// Policy is the part of the registration that says who may do what.
func (e *genEntity) Policy() string {
	var c code
	if len(e.Actions) > 0 {
		c.add("actions: map[string]func(string) (%s.%s, error){", e.Pkg, e.Name)
		for _, a := range e.Actions {
			c.add("%q: store.%s%s,", a.Verb, a.Go, e.Name)
		}
		c.add("},")
	}
	parents := map[string]string{}
	for _, f := range e.Stored {
		if f.Field.Type == Reference && f.Ref != e.Noun && parents[f.Ref] == "" {
			parents[f.Ref] = f.Field.Name
		}
	}
	if len(parents) > 0 {
		c.add("parents: map[string]string{")
		for _, noun := range slices.Sorted(maps.Keys(parents)) {
			c.add("%q: %q,", e.service.entity(noun).Path, parents[noun])
		}
		c.add("},")
	}
	if e.service.Auth == nil {
		return c.String()
	}
	c.add("policy: policy[%s.%s, %s.%sInput]{", e.Pkg, e.Name, e.Pkg, e.Name)
	if e.Account {
		e.accountPolicy(&c)
	} else {
		for _, op := range [][2]string{{"create", "create"}, {"read", "read"}, {"update", "update"}, {"remove", "delete"}} {
			if n := e.needOf(op[1]); n != "need{}" {
				c.add("%s: %s,", op[0], n)
			}
		}
		var actions []string
		for _, a := range e.Actions {
			for _, r := range e.service.RulesOf(e.Noun, RuleAccess) {
				if r.Verb == a.Verb {
					actions = append(actions, fmt.Sprintf("%q: %s,", a.Verb, e.needOf(a.Verb)))
				}
			}
		}
		if len(actions) > 0 {
			c.add("actions: map[string]need{\n%s\n},", strings.Join(actions, "\n"))
		}
		e.ownPolicy(&c)
		e.statePolicy(&c)
	}
	c.add("},")
	return c.String()
}

// statePolicy holds the role that an action needs against PATCH and POST,
// which could set the same state.
func (e *genEntity) statePolicy(c *code) {
	var guards code
	for _, a := range e.Actions {
		for _, r := range e.service.RulesOf(e.Noun, RuleAccess) {
			if r.Verb != a.Verb {
				continue
			}
			f := e.gen(a.Field)
			is := fmt.Sprintf("in.%s != nil", f.Go)
			was := fmt.Sprintf("old.%s != nil", f.Go)
			if a.State != "" {
				is += fmt.Sprintf(" && *in.%s == %s", f.Go, stateLiteral(f, a.State))
				was = fmt.Sprintf("old.%s == %s", f.Go, stateLiteral(f, a.State))
			}
			var roles []string
			for _, role := range withAdmin(r.Fields) {
				roles = append(roles, fmt.Sprintf("%s.Role%s", e.Pkg, goName(role)))
			}
			guards.add("if %s && !(%s) {\nif err := among(who, %s); err != nil {\nreturn err\n}\n}", is, was, strings.Join(roles, ", "))
		}
	}
	if guards.Len() == 0 {
		return
	}
	if len(e.service.RulesOf(e.Noun, RuleOwn)) > 0 {
		return // refused when the task is read
	}
	account := e.Pkg + "." + e.service.Account.Name
	row := e.Pkg + "." + e.Name
	c.add("admit: func(who %s, in *%sInput) error {\nvar old %s\n%sreturn nil\n},", account, row, row, guards.String())
	c.add("admitChange: func(who %s, old %s, in *%sInput) error {\n%sreturn nil\n},", account, row, row, guards.String())
}

// accountPolicy: anyone registers; only admins list accounts and give roles;
// an account is its owner's and the admins'.
func (e *genEntity) accountPolicy(c *code) {
	c.add("read: need{login: true}, update: need{login: true}, remove: %s,", strings.Replace(e.needOf("delete"), "need{}", "need{login: true}", 1))
	if n := e.needOf("create"); strings.Contains(n, "roles") {
		c.add("create: %s,", n)
	}
	c.add("lists: &need{login: true, roles: []string{%s.RoleAdmin}},", e.Pkg)
	c.add("owner: %s.%s.Key,\nowned: map[string]bool{\"read\": true, \"update\": true, \"delete\": true},", e.Pkg, e.Name)
	c.add("admit: func(who %[1]s.%[2]s, in *%[1]s.%[2]sInput) error { return onlyAdmins(who, in.Role, %[3]q) },", e.Pkg, e.Name, e.service.Auth.Roles[0])
	c.add("admitChange: func(who, old %[1]s.%[2]s, in *%[1]s.%[2]sInput) error {\nif in.Role == nil {\nin.Role = &old.Role // a replacement without a role keeps it\n}\nreturn onlyAdmins(who, in.Role, old.Role)\n},", e.Pkg, e.Name)
}

func (e *genEntity) ownPolicy(c *code) {
	i := slices.IndexFunc(e.Stored, func(f genField) bool { return f.Owner })
	if i < 0 {
		return
	}
	rules := e.service.RulesOf(e.Noun, RuleOwn)
	f := e.Stored[i]
	owned := map[string]bool{}
	for _, r := range rules {
		for _, v := range r.Verbs {
			owned[v] = true
		}
	}
	var ops []string
	for _, op := range slices.Sorted(maps.Keys(owned)) {
		ops = append(ops, fmt.Sprintf("%q: true", op))
	}
	row := e.Pkg + "." + e.Name
	account := e.Pkg + "." + e.service.Account.Name
	if len(ops) > 0 {
		c.add("owner: func(one %s) string { return one.%s },\nowned: map[string]bool{%s},", row, f.Go, strings.Join(ops, ", "))
	}
	c.add("admit: func(who %s, in *%sInput) error {\nif in.%s == nil {\nid := %s.ID(who.ID)\nin.%s = &id\n}\nif string(*in.%s) != who.ID && who.Role != %s.RoleAdmin {\nreturn errForbidden\n}\nreturn nil\n},", account, row, f.Go, e.Pkg, f.Go, f.Go, e.Pkg)
	c.add("admitChange: func(_ %s, old %s, in *%sInput) error {\nif in.%s == nil {\nid := %s.ID(old.%s)\nin.%s = &id // a replacement without an owner keeps it\n}\nreturn nil\n},", account, row, row, f.Go, e.Pkg, f.Go, f.Go)
}

// openAPI is the description of the service, OpenAPI 3.1.
func (g *genService) openAPI() ([]byte, error) {
	type m = map[string]any
	ref := func(name string) m { return m{"$ref": "#/components/schemas/" + name} }
	body := func(schema any) m { return m{"content": m{"application/json": m{"schema": schema}}} }
	problem := func(text string) m {
		return m{"description": text, "content": m{"application/problem+json": m{"schema": ref("Problem")}}}
	}
	ok := func(text string, schema any) m {
		r := body(schema)
		r["description"] = text
		return r
	}
	paths, schemas := m{}, m{"Problem": m{"type": "object", "properties": m{
		"type": m{"type": "string"}, "title": m{"type": "string"}, "status": m{"type": "integer"}, "detail": m{"type": "string"},
		"errors": m{"type": "array", "items": m{"type": "object", "properties": m{"field": m{"type": "string"}, "message": m{"type": "string"}}}}}}}
	id := []any{m{"name": "id", "in": "path", "required": true, "schema": m{"type": "string"}}}
	secured := func(op m, e *genEntity, verb string) m {
		if g.Auth != nil && (strings.Contains(e.needOf(verb), "login") || e.Account && verb != "create") {
			op["security"] = []any{m{"bearer": []any{}}}
			r := op["responses"].(m)
			r["401"], r["403"] = problem("no valid token"), problem("not allowed for this account")
		}
		var rules []string
		for _, r := range g.RulesOf(e.Noun) {
			rules = append(rules, r.ID+": "+r.Describe(g.Spec))
		}
		if len(rules) > 0 && (verb == "create" || verb == "update") {
			op["description"] = strings.Join(rules, "\n")
		}
		return op
	}
	for _, e := range g.Entities {
		props, input := m{"id": m{"type": "string", "readOnly": true}}, m{}
		var required []string
		for _, f := range append(slices.Clone(e.Stored), e.passwordFields()...) {
			s := f.schema()
			if f.ReadOnly {
				s["readOnly"] = true
			} else {
				input[f.Field.Name] = s
				if !f.Optional && f.Default == "" && !f.Now && !f.Owner && f.Field.Type != List {
					required = append(required, f.Field.Name)
				}
			}
			if f.Field.Type != Password {
				props[f.Field.Name] = s
			}
		}
		props[g.As("created_at")], props[g.As("updated_at")] = m{"type": "string", "format": "date-time", "readOnly": true}, m{"type": "string", "format": "date-time", "readOnly": true}
		schemas[e.Name] = m{"type": "object", "properties": props}
		in := m{"type": "object", "properties": input}
		if len(required) > 0 {
			in["required"] = required
		}
		schemas[e.Name+"Input"] = in
		bad := m{"400": problem("malformed"), "409": problem("a rule or a unique field refuses it"), "415": problem("not JSON"), "422": problem("a field breaks its rules")}
		with := func(extra m) m {
			out := maps.Clone(bad)
			maps.Copy(out, extra)
			return out
		}
		params := []any{}
		for _, name := range []string{"limit", "offset"} {
			params = append(params, m{"name": name, "in": "query", "schema": m{"type": "integer"}})
		}
		for _, name := range []string{"q", "sort"} {
			params = append(params, m{"name": name, "in": "query", "schema": m{"type": "string"}})
		}
		for _, f := range e.Stored {
			params = append(params, m{"name": f.Field.Name, "in": "query", "schema": m{"type": "string"}})
		}
		list := m{"summary": "List " + e.Entity.Plural, "parameters": params, "responses": m{"200": ok("a page; X-Total-Count has the number of all", m{"type": "array", "items": ref(e.Name)}), "400": problem("unknown filter")}}
		create := m{"summary": "Create " + article(e.Noun) + " " + e.Noun, "requestBody": body(ref(e.Name + "Input")), "responses": with(m{"201": ok("created", ref(e.Name))})}
		paths[e.Path] = m{"get": secured(list, e, "read"), "post": secured(create, e, "create")}
		missing := m{"404": problem("no such " + e.Noun)}
		one := m{"parameters": id}
		one["get"] = secured(m{"summary": "Read " + article(e.Noun) + " " + e.Noun, "responses": m{"200": ok("found", ref(e.Name)), "404": missing["404"]}}, e, "read")
		for _, method := range []string{"put", "patch"} {
			responses := with(m{"200": ok("changed", ref(e.Name)), "404": missing["404"]})
			one[method] = secured(m{"summary": map[string]string{"put": "Replace", "patch": "Change"}[method] + " " + article(e.Noun) + " " + e.Noun, "requestBody": body(ref(e.Name + "Input")), "responses": responses}, e, "update")
		}
		one["delete"] = secured(m{"summary": "Delete " + article(e.Noun) + " " + e.Noun, "responses": m{"204": m{"description": "deleted"}, "404": missing["404"], "409": problem("others refer to it")}}, e, "delete")
		paths[e.Path+"/{id}"] = one
		for _, a := range e.Actions {
			paths[e.Path+"/{id}/"+a.Verb] = m{"parameters": id, "post": secured(m{"summary": a.Verb + " " + article(e.Noun) + " " + e.Noun, "responses": m{"200": ok("done", ref(e.Name)), "404": missing["404"], "409": problem("not possible now")}}, e, a.Verb)}
		}
	}
	components := m{"schemas": schemas}
	if g.Auth != nil {
		components["securitySchemes"] = m{"bearer": m{"type": "http", "scheme": "bearer"}}
		login := m{"type": "object", "required": []string{"email", "password"}, "properties": m{"email": m{"type": "string"}, "password": m{"type": "string"}}}
		token := m{"type": "object", "properties": m{"token": m{"type": "string"}, "expires_at": m{"type": "string", "format": "date-time"}, g.Account.Kind + "_id": m{"type": "string"}, "role": m{"type": "string"}}}
		paths["/login"] = m{"post": m{"summary": "Get a token", "requestBody": body(login), "responses": m{"200": ok("a token", token), "401": problem("wrong"), "429": problem("too many failures")}}}
		paths["/logout"] = m{"post": m{"summary": "Revoke the token", "security": []any{m{"bearer": []any{}}}, "responses": m{"204": m{"description": "revoked"}, "401": problem("no valid token")}}}
	}
	doc := m{"openapi": "3.1.0", "info": m{"title": g.Name, "version": "1.0.0", "description": strings.TrimSpace(g.Task)}, "paths": paths, "components": components}
	out, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encoding the OpenAPI description: %w", err)
	}
	return append(out, '\n'), nil
}

func (e *genEntity) passwordFields() []genField {
	return slices.DeleteFunc(slices.Clone(e.Inputs), func(f genField) bool { return f.Field.Type != Password })
}

// schema is the JSON schema of a field's values.
func (f genField) schema() map[string]any {
	s := map[string]any{"type": "string"}
	number := func(key, value string) {
		if value != "" {
			s[key] = json.Number(value)
		}
	}
	switch f.Field.Type {
	case Int:
		s["type"] = "integer"
	case Decimal:
		s["type"] = "number"
	case Bool:
		s["type"] = "boolean"
	case Date:
		s["format"] = "date"
	case Timestamp:
		s["format"] = "date-time"
	case Email:
		s["format"] = "email"
	case URL:
		s["format"] = "uri"
	case UUID:
		s["format"] = "uuid"
	case Enum:
		s["enum"] = f.Values
	case List:
		s["type"], s["items"] = "array", map[string]any{"type": "string"}
	case Reference:
		s["description"] = "id of " + article(f.Ref) + " " + f.Ref
	case Password:
		s["writeOnly"], s["format"] = true, "password"
	}
	if f.Pointer {
		s["type"] = []any{s["type"], "null"}
	}
	number("minimum", f.Min)
	number("exclusiveMinimum", f.Above)
	number("maximum", f.Max)
	if f.Pattern != "" {
		s["pattern"] = f.Pattern
	}
	if f.MinLen > 0 {
		s["minLength"] = f.MinLen
	}
	if f.MaxLen > 0 {
		s["maxLength"] = f.MaxLen
	}
	return s
}

// StateRoles reports whether a role guards an action that sets a state.
func (g *genService) StateRoles() bool {
	return slices.ContainsFunc(g.Entities, func(e *genEntity) bool {
		var c code
		e.statePolicy(&c)
		return c.Len() > 0
	})
}
