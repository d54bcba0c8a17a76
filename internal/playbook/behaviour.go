package playbook

import (
	"slices"
	"strings"
)

// blocked: whoever has an overdue row gets no new one.
func (p *reader) blocked(c *clause, holder, noun, verb string) bool {
	e := p.entity(noun)
	h := p.entity(holder)
	if e == nil || h == nil {
		return false
	}
	ref := e.refTo(h.Noun)
	due := p.dueField(e)
	linked := known().words.Links[base(verb)]
	if ref == nil || due == "" || linked != e.Noun && verb != "create" && verb != "take" && verb != "make" && verb != "get" && verb != "have" && verb != "place" {
		return false
	}
	active, ok := p.active(e.Noun)
	if !ok {
		return false
	}
	return p.addRule(Rule{Kind: RuleBlocked, Clause: c.raw, Entity: e.Noun, Field: e.refTo(h.Noun).Name, Other: due, Active: active})
}

func (p *reader) dueField(e *Entity) string {
	for _, n := range []string{"due_at", "due_date", "due_on", "due"} {
		if f := e.field(n); f != nil && (f.Type == Timestamp || f.Type == Date) {
			return n
		}
	}
	return ""
}

// flag: new rows need, or must not have, a state of what they refer to.
func (p *reader) flag(c *clause, noun, adjective, verb, object string, must bool) bool {
	e := p.entity(noun)
	if e == nil {
		return false
	}
	f, want, ok := e.state(adjective)
	if !ok && (adjective == "inactive" || adjective == "active") && e.field("status") == nil {
		e.Fields = append(e.Fields, Field{Name: "active", Type: Bool, Default: "true"})
		p.assume("Each %s has active, which is true at first.", e.Noun)
		f, want, ok = e.state(adjective)
	}
	if !ok {
		return false
	}
	child := ""
	if object != "" && p.entity(object) != nil {
		o := p.entity(object)
		if o.refTo(e.Noun) != nil {
			child = o.Noun
		} else {
			child = p.join(e.Noun, o.Noun)
		}
	} else if link, ok := known().words.Links[base(strings.TrimPrefix(verb, "be "))]; ok && p.entity(link) != nil && p.entity(link).refTo(e.Noun) != nil {
		child = link
	}
	if child == "" {
		return false
	}
	r := Rule{Kind: RuleParentFlag, Clause: c.raw, Entity: child, Field: p.entity(child).refTo(e.Noun).Name, Other: f.Name, Value: want, Verb: "refuse"}
	if must {
		r.Verb = "require"
	}
	return p.addRule(r)
}

// doAndUndo: "members can borrow and return books" is what a join resource is for.
func (p *reader) doAndUndo(c *clause, who, do, undo, what string) bool {
	a, b := p.entity(who), p.entity(what)
	if a == nil || b == nil {
		return false
	}
	if _, ok := known().words.Links[snake(base(do))]; !ok {
		return false
	}
	an, bn := a.Noun, b.Noun
	noun := p.linkFor(do, an, bn)
	if noun == "" {
		return false
	}
	e := p.entity(noun)
	if undo == "" {
		p.cover(c.raw, "POST /%s with %s and %s", kebab(e.Plural), e.refTo(an).Name, e.refTo(bn).Name)
		return true
	}
	active, ok := p.active(noun)
	hint := known().nouns[noun]
	if !ok && undo == "cancel" {
		f := e.setStatus([]string{"confirmed", "cancelled"})
		e.addAction(Action{Verb: "cancel", Field: f.Name, State: "cancelled"})
		p.cover(c.raw, "POST /%s and POST /%s/{id}/cancel", kebab(e.Plural), kebab(e.Plural))
		return true
	}
	if !ok || active.Empty == "" || hint.Act != undo && undo != "return" {
		return false
	}
	e.addAction(Action{Verb: undo, Field: active.Empty})
	p.cover(c.raw, "POST /%s and POST /%s/{id}/%s", kebab(e.Plural), kebab(e.Plural), undo)
	return true
}

// action: a row can be closed, completed, cancelled: an operation of its own.
func (p *reader) action(c *clause, noun, word string) bool {
	e := p.entity(noun)
	if e == nil {
		return false
	}
	word = snakeValue(word)
	for _, adjective := range []string{word, word + "d", word + "ed", word + "led"} {
		f, want, ok := e.state(adjective)
		if !ok {
			continue
		}
		a := Action{Verb: base(word), Field: f.Name, State: want}
		if a.Verb == word && strings.HasSuffix(word, "ed") {
			a.Verb = strings.TrimSuffix(word, "d")
		}
		if word == "done" {
			a.Verb = "complete"
		}
		e.addAction(a)
		p.cover(c.raw, "POST /%s/{id}/%s", kebab(e.Plural), a.Verb)
		return true
	}
	if hint := known().nouns[e.Noun]; hint.Done != "" && (hint.Act == base(word)) {
		if active, ok := p.active(e.Noun); ok && active.Empty != "" {
			e.addAction(Action{Verb: hint.Act, Field: active.Empty})
			p.cover(c.raw, "POST /%s/{id}/%s", kebab(e.Plural), hint.Act)
			return true
		}
	}
	if word == "cancelled" || word == "cancel" || word == "archived" || word == "archive" || word == "completed" || word == "complete" || word == "closed" || word == "close" || word == "published" || word == "publish" {
		state := word
		if base(word) == word {
			state = map[string]string{"cancel": "cancelled", "archive": "archived", "complete": "completed", "close": "closed", "publish": "published"}[word]
		}
		if slices.ContainsFunc(e.Fields, func(f Field) bool { return f.Type == Enum && (f.Name == "status" || f.Name == "state") }) {
			return false
		}
		e.Fields = append(e.Fields, Field{Name: state, Type: Bool, Default: "false"})
		e.addAction(Action{Verb: base(state), Field: state, State: "true"})
		p.cover(c.raw, "POST /%s/{id}/%s sets %s", kebab(e.Plural), base(state), state)
		return true
	}
	return false
}

// given: the clause asks for operations that every resource has.
func (p *reader) given(c *clause, text string) bool {
	for _, m := range entityName().FindAllStringSubmatch(text, -1) {
		if p.entity(m[1]) == nil {
			return false
		}
	}
	if strings.Contains(text, " own ") {
		return false
	}
	p.cover(c.raw, "create, list, read, replace, change and delete are operations of every resource")
	return true
}

// find: lists are filtered by any field; check that the fields exist.
func (p *reader) find(c *clause, noun, by string) bool {
	e := p.entity(noun)
	if e == nil {
		return false
	}
	for _, name := range listSep().Split(by, -1) {
		name = strings.TrimPrefix(strings.TrimSpace(name), "@")
		if name == "" {
			continue
		}
		if name == "text" || name == "keyword" || name == "date" && e.named("date") < 0 && e.named("created_at") >= 0 {
			continue
		}
		if e.named(snake(name)) < 0 && (p.entity(name) == nil || e.refTo(p.entity(name).Noun) == nil) && e.field(snake(name)+"_id") == nil {
			return false
		}
	}
	p.cover(c.raw, "GET /%s takes every field as a filter, q to search, sort, limit and offset", kebab(e.Plural))
	return true
}

// overdue: a list of rows past their due time that are not over.
func (p *reader) overdue(c *clause, noun string) bool {
	e := p.entity(noun)
	if e == nil || p.dueField(e) == "" {
		return false
	}
	active, ok := p.active(e.Noun)
	if !ok {
		return false
	}
	e = p.entity(noun)
	e.Fields = append(e.Fields, Field{Name: "overdue", Type: Bool, ReadOnly: true})
	p.addRule(Rule{Kind: RuleOverdue, Clause: c.raw, Entity: e.Noun, Field: "overdue", Other: p.dueField(e), Active: active})
	return true
}
