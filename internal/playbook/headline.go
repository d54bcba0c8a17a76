package playbook

import (
	"regexp"
	"slices"
	"strings"
)

// headline reads "Build a secure REST API for …": the words before the
// connector say what kind of program, those after it what it is about.
func (p *reader) headline(c clause) {
	toks := c.toks[imperativeLength(c.toks):]
	end := 0
	for end < len(toks) && !connectors[toks[end].text] && toks[end].text != "(" {
		end++
	}
	for end < len(toks) && toks[end].text == "and" && end+1 < len(toks) && known().products[toks[end+1].text] {
		end += 2
	}
	p.productPhrase(c, toks[:end])
	p.connections(toks[end:])
}

func (p *reader) productPhrase(c clause, toks []lexeme) {
	k := known()
	var domain []lexeme
	for _, t := range toks {
		switch {
		case determiners[t.text], k.products[t.text], k.qualities[t.text], nobody[t.text]:
		case t.text == "secure" || t.text == "secured" || t.text == "authenticated":
			p.secure = true
			p.cover(t.text, "every operation but registration and login needs a bearer token")
		case k.beyond[t.text], strings.HasSuffix(t.text, "able") && len(t.text) > 6, !isWord(t.text):
			p.uncovered(p.task[t.start:t.end])
		default:
			domain = append(domain, t)
		}
	}
	if len(domain) > 0 && domain[len(domain)-1].text == "management" || len(domain) > 0 && (domain[len(domain)-1].text == "tracking" || domain[len(domain)-1].text == "tracker") {
		domain = domain[:len(domain)-1]
		if len(domain) > 0 {
			p.add(join(domain))
		}
	}
	if len(domain) > 3 {
		p.uncovered(p.task[domain[0].start:domain[len(domain)-1].end])
		return
	}
	if len(domain) > 0 {
		p.spec.Name = join(domain)
		noun := singular(join(domain))
		// "a todo API" is about todos, unless the rest says what it is about.
		if _, isKnown := k.nouns[noun]; isKnown && len(p.spec.Entities) == 0 && !strings.ContainsAny(c.raw, "(:") && len(p.clauses) == 1 {
			p.nouns["?"] = noun
		}
	}
	if len(p.spec.Entities) == 0 && len(domain) > 0 {
		p.nouns["?"] = singular(join(domain))
	}
}

func isWord(s string) bool { return s != "" && (s[0] >= 'a' && s[0] <= 'z') }

// connections reads what follows the kind of program.
func (p *reader) connections(toks []lexeme) {
	fallback := p.nouns["?"]
	delete(p.nouns, "?")
	p.connect(toks)
	if _, ok := known().nouns[fallback]; ok && len(p.spec.Entities) == 0 {
		p.fallback = fallback
	}
}

var (
	lets      = pattern(`^(?:that|which|to|and) (?:lets?|allows?|allowing|enables?|letting) `)
	managing  = pattern(`^(?:that |which |to |for )?(?:managing|manages?|tracking|tracks?|storing|stores?|handling|handles?|keeping track of|keeps? track of|keeping|keeps|maintains?|maintaining|organi[sz]es?|organi[sz]ing|serving|serves?|exposing|exposes?|supporting|supports?|has|have|provides?|providing|offers?|featuring|containing|contains?|includes?|including|records?|recording|administering|manage|store|track|handle) `)
	inGo      = pattern(`^(?:written |implemented |built )?(?:in|using|with) (?:idiomatic |plain |pure )?(?:go|golang)(?: \d\S*)?(?: |$)`)
	inMemory  = pattern(`^(?:in memory|in-memory)(?: storage| only)? `)
	named     = pattern(`^(?:called|named) \S+(?: |$)`)
	listStart = pattern(`^(?:for|with|of|to|having|using|and|,|by) `)
	subject   = pattern(`^(?:where|so that|such that|in which) `)
	inMutual  = pattern(`^(?:with|having|in) (?:a )?many[- ]to[- ]many `)
	perform   = pattern(`^(?:to |that can |that |which )(?:create|add|list|read|update|delete|crud|get|view|search|edit|remove|register|book|reserve|borrow|rent|order|record|log|schedule)\b`)
)

func (p *reader) connect(toks []lexeme) {
	for len(toks) > 0 {
		text := join(toks) + " "
		drop := func(re *regexp.Regexp) { toks = toks[len(strings.Fields(re.FindString(text))):] }
		switch {
		case toks[0].text == ":" || toks[0].text == ",":
			toks = toks[1:]
		case inGo().MatchString(text):
			drop(inGo())
		case inMemory().MatchString(text):
			p.feature(p.task[toks[0].start:toks[len(strings.Fields(inMemory().FindString(text)))-1].end], "in memory")
			drop(inMemory())
		case named().MatchString(text):
			p.spec.Name = toks[1].text
			drop(named())
		case lets().MatchString(text):
			drop(lets())
			p.permission(toks)
			return
		case subject().MatchString(text):
			drop(subject())
			p.clauses = append(p.clauses, p.split(p.task, "", toks, nil)...)
			return
		case perform().MatchString(text) && !managing().MatchString(text):
			skip := 1
			if toks[1].text == "can" {
				skip = 2
			}
			p.append(toks[skip:])
			return
		case p.manages(toks):
			drop(managing())
			toks = p.list(toks)
		case listStart().MatchString(text):
			drop(listStart())
			if p.manages(toks) || inGo().MatchString(join(toks)+" ") {
				continue
			}
			toks = p.list(toks)
		default:
			p.append(toks)
			return
		}
	}
}

// manages reports whether a verb such as "stores" begins the words, with what
// is stored after it.
func (p *reader) manages(toks []lexeme) bool {
	verb := managing().FindString(join(toks) + " ")
	return verb != "" && len(strings.Fields(verb)) < len(toks)
}

// append adds the words as a clause of their own, to be understood later.
func (p *reader) append(toks []lexeme) {
	if len(toks) > 0 {
		p.clauses = append(p.clauses, clause{raw: p.task[toks[0].start:toks[len(toks)-1].end], toks: toks})
	}
}

// permission is "users (to) create tasks": it becomes "users can create tasks".
func (p *reader) permission(toks []lexeme) {
	for i, t := range toks {
		if t.text == "to" {
			toks = slices.Clone(toks)
			toks[i].text = "can"
			p.append(toks)
			return
		}
	}
	if len(toks) > 1 {
		i := 1
		if determiners[toks[0].text] {
			i = 2
		}
		can := lexeme{text: "can", start: toks[i-1].end, end: toks[i-1].end}
		p.append(slices.Concat(toks[:i], []lexeme{can}, toks[i:]))
	}
}

// list reads nouns up to the next connector that is not part of the list.
func (p *reader) list(toks []lexeme) []lexeme {
	end, depth := 0, 0
	for ; end < len(toks); end++ {
		switch t := toks[end].text; t {
		case "(":
			depth++
		case ")":
			depth--
		default:
			if depth > 0 || end == 0 {
				continue
			}
			rest := join(toks[end:]) + " "
			if inMutual().MatchString(rest) {
				p.nounList(toks[:end])
				p.append(toks[end+1:])
				return nil
			}
			if inGo().MatchString(rest) || named().MatchString(rest) || lets().MatchString(rest) || subject().MatchString(rest) || t == "using" || t == "via" {
				p.nounList(toks[:end])
				return toks[end:]
			}
		}
	}
	p.nounList(toks)
	return nil
}
