package playbook

import "slices"

// stock: creating a row takes its quantity from what the other has.
func (p *reader) stock(c *clause, noun, of string) bool {
	var source *Entity
	for i := range p.spec.Entities {
		e := &p.spec.Entities[i]
		if of != "" && snake(e.Noun) == of || of == "" && (e.Noun == "product" || e.Noun == "item") {
			source = e
		}
	}
	if source == nil {
		return false
	}
	level := ""
	for _, name := range []string{"stock", "quantity", "stock_quantity", "inventory", "quantity_in_stock", "in_stock_quantity", "stock_level"} {
		if f := source.field(name); f != nil && f.Type == Int {
			level = name
			f.Optional = false
			if f.Min == "" && f.Above == "" {
				f.Min = "0"
			}
			break
		}
	}
	if level == "" {
		return false
	}
	src := source.Noun
	taker := ""
	for i := range p.spec.Entities {
		e := &p.spec.Entities[i]
		if e.refTo(src) != nil && e.field("quantity") != nil && e.Noun != src {
			taker = e.Noun
		}
	}
	if taker == "" {
		e := p.entity("order")
		if noun != "" && p.entity(noun) != nil && p.entity(noun).Noun != src && !isPerson(p.entity(noun).Noun) {
			e = p.entity(noun)
		}
		if e == nil || e.Declared && e.refTo(src) == nil && e.field("quantity") == nil {
			return false
		}
		taker = e.Noun
		p.ensureRef(taker, src)
		if e = p.entity(taker); e.field("quantity") == nil {
			e.Fields = append(e.Fields, Field{Name: "quantity", Type: Int, Above: "0"})
			p.assume("Each %s has a quantity.", taker)
		}
	}
	e := p.entity(taker)
	q := e.field("quantity")
	if q.Above == "" && q.Min == "" {
		q.Above = "0"
	}
	q.Optional, q.Immutable = false, true
	ref := e.refTo(src)
	ref.Immutable, ref.Optional = true, false
	p.assume("The %s and quantity of a %s are set once; deleting it gives nothing back.", src, taker)
	for i := range p.spec.Rules {
		if r := &p.spec.Rules[i]; r.Kind == RuleStock && r.Entity == taker {
			r.Clause += "; " + c.raw
			return true
		}
	}
	return p.addRule(Rule{Kind: RuleStock, Clause: c.raw, Entity: taker, Field: ref.Name, Start: "quantity", Other: level, Child: src})
}

func isPerson(noun string) bool {
	return slices.Contains([]string{"user", "customer", "client", "member", "person", "employee", "buyer", "patron"}, noun)
}

// total: a field is quantity times price, of the row or summed over its parts.
func (p *reader) total(c *clause, noun, field string, sum bool) bool {
	if noun == "" {
		noun = p.last
	}
	e := p.entity(noun)
	if e == nil {
		return false
	}
	name := snake(field)
	priceOf := func(e *Entity) (ref, price string) {
		for _, n := range []string{"price", "unit_price"} {
			if f := e.field(n); f != nil && f.Type == Decimal {
				return "", n
			}
		}
		for _, f := range e.Fields {
			if f.Type != Reference {
				continue
			}
			for _, n := range []string{"price", "unit_price"} {
				if g := p.entity(f.Ref).field(n); g != nil && g.Type == Decimal {
					g.Optional = false
					return f.Name, n
				}
			}
		}
		return "", ""
	}
	set := func(e *Entity) {
		f := e.field(name)
		if f == nil {
			e.Fields = append(e.Fields, Field{Name: name})
			f = &e.Fields[len(e.Fields)-1]
		}
		*f = Field{Name: name, Type: Decimal, ReadOnly: true}
	}
	if !sum && e.field("quantity") != nil {
		ref, price := priceOf(e)
		if price == "" || e.field("quantity").Optional {
			return false
		}
		set(e)
		return p.addRule(Rule{Kind: RuleProduct, Clause: c.raw, Entity: e.Noun, Field: name, Start: "quantity", Other: price, Child: ref})
	}
	for i := range p.spec.Entities {
		child := &p.spec.Entities[i]
		if child.refTo(e.Noun) == nil || child.field("quantity") == nil {
			continue
		}
		ref, price := priceOf(child)
		if price == "" {
			continue
		}
		set(e)
		return p.addRule(Rule{Kind: RuleTotal, Clause: c.raw, Entity: e.Noun, Field: name, Child: child.Noun, Start: "quantity", Other: price, End: ref})
	}
	return false
}
