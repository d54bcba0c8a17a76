package playbook

import (
	"slices"
	"strings"
)

var (
	imperative = pattern(`^(?:please )?(?:can you |could you )?(?:build|create|make|write|implement|develop|design|generate|scaffold|set up|add|provide|bootstrap|produce|deliver|i need|i want|we need|we want|i would like|we would like|give|expose|offer|start)(?: me| us)?(?: to (?:build|create|make|write|have))? `)
	generic    = set([]string{"entities", "entity", "resources", "models", "model", "rules", "requirements", "features", "constraints", "endpoints", "notes", "business rules", "data model", "validation",
		"security", "storage", "auth", "authentication", "authorization", "domain", "resources and rules", "behaviour", "behavior", "details", "roles", "permissions", "access", "the rules", "task", "goal", "rate limit", "rate limits", "rate limiting", "limits", "limit", "relations", "relationships"})
	determiners = set([]string{"a", "an", "the", "their", "its", "each", "every", "all", "any", "some", "many", "several", "multiple", "various", "different", "my", "our", "his", "her", "own", "and", "also", "of", "registered", "basic", "simple", "following", "these", "two", "three", "four", "both", "plus"})
	nobody      = set([]string{"it", "they", "api", "service", "system", "app", "application", "there", "server", "we", "you", "i", "this", "that", "response", "request", "each", "everyone", "anyone", "nobody", "one", "backend", "endpoint", "code", "project"})
	connectors  = set([]string{"for", "to", "that", "which", "with", "where", "of", "in", "using", "on", "backed", "exposing", "supporting", "managing", "storing", "called", "named", "having", "tracking", "handling", "and", ",", "including", "by", "so", "whose", "via", "without", "keeping", "based", "featuring", "providing", "written", "containing"})
)

// findEntities reads the headline and every place where a resource is named.
func (p *reader) findEntities() {
	for i := 0; i < len(p.clauses); i++ {
		c := p.clauses[i]
		label := strings.ToLower(c.label)
		switch {
		case i == 0 && c.label != "" && c.label != listLabel && !generic[label] && listsResources(c.toks):
			p.spec.Name = label // "Restaurant reservations: tables (number, seats), guests (name)"
			p.clauses[i].done = subjectLength(c.toks) < 0 && p.nounList(c.toks)
		case c.label != "" && c.label != listLabel && !generic[label] && (c.fields || !p.isHeadline(c.toks)) && label != "fields" && p.isNoun(label):
			p.add(singular(label)).Declared = true
		case generic[label] && (label == "entities" || label == "resources" || label == "models" || label == "data model"):
			if subjectLength(c.toks) < 0 {
				p.clauses[i].done = p.nounList(c.toks)
			}
		case c.fields: // of a resource that is there
		case p.isHeadline(c.toks) && (i == 0 || imperative().MatchString(join(c.toks)+" ")):
			p.clauses[i].done = true
			p.headline(c)
		case c.label == listLabel && subjectLength(c.toks) < 0 && len(p.spec.Entities) == 1 && listsFields(c.toks):
			noun := p.spec.Entities[0].Noun // "an API for books: title, author, isbn"
			p.spec.Entities[0].Declared = true
			p.clauses[i].label, p.clauses[i].fields = noun, true
		case c.label == listLabel && subjectLength(c.toks) < 0:
			p.clauses[i].done = p.nounList(c.toks) // "a library service: members and books"
		case i > 0 && announces(c.toks) && p.isNews(c.toks):
			p.clauses[i].done = p.nounList(c.toks) // "…; books with title and isbn; loans"
		case i == 0 && p.announcesList(c) && imperative().MatchString(join(c.toks)+" "):
			p.clauses[i].done = true
			p.headline(c)
		case i == 0 && imperative().MatchString(join(c.toks)+" ") && !slices.ContainsFunc(c.toks, func(t lexeme) bool { return verbs[t.text] }):
			p.clauses[i].done = true
			p.nounList(c.toks[imperativeLength(c.toks):])
		}
	}
	for _, c := range p.clauses { // "loans link a member to a book"
		if m := linking().FindStringSubmatch(join(c.toks)); m != nil && isPlural(m[1]) && p.isNoun(m[1]) && p.nouns[singular(m[2])] != "" && p.nouns[singular(m[3])] != "" {
			p.add(singular(m[1]))
		}
	}
	if len(p.spec.Entities) == 0 && p.fallback != "" {
		p.add(p.fallback) // "a todo API", and nothing says what else it keeps
	}
	for i := range p.clauses {
		if !p.clauses[i].done {
			if loginWords().MatchString(join(p.clauses[i].toks)) && p.nouns["account"] == "" {
				p.add("user")
			}
			p.subjects(p.clauses[i].toks)
		}
	}
}

// listsFields reports whether a list after a colon names fields of one
// resource rather than resources: its first item is a singular.
func listsFields(toks []lexeme) bool {
	for len(toks) > 0 && determiners[toks[0].text] {
		toks = toks[1:]
	}
	return len(toks) > 1 && isWord(toks[0].text) && !isPlural(toks[0].text) && (toks[1].text == "," || toks[1].text == "(" || alone[toks[1].text])
}

// listsResources reports whether resources, in the plural, begin the words.
func listsResources(toks []lexeme) bool {
	for len(toks) > 0 && determiners[toks[0].text] {
		toks = toks[1:]
	}
	return len(toks) > 1 && isPlural(toks[0].text) && guessType(toks[0].text) == String && (toks[1].text == "(" || toks[1].text == "have" || toks[1].text == "with" || toks[1].text == "belong")
}

// announces reports whether a clause without a verb names a resource, alone or
// with its fields.
func announces(toks []lexeme) bool {
	for len(toks) > 0 && toks[0].text == "and" {
		toks = toks[1:]
	}
	if subjectLength(toks) >= 0 || slices.ContainsFunc(toks, func(t lexeme) bool { return modals[t.text] }) {
		return false // "books with loans can't be deleted"
	}
	for n := 1; n <= min(3, len(toks)); n++ {
		if !isWord(toks[n-1].text) || breaks[toks[n-1].text] || determiners[toks[n-1].text] || n == len(toks) && known().abilities[toks[n-1].text] {
			return false
		}
		if isPlural(toks[n-1].text) && (n == len(toks) && n < 3 || n < len(toks)-1 && (toks[n].text == "with" || toks[n].text == "having" || toks[n].text == "(")) {
			return !partialWords[toks[0].text] && !strings.HasSuffix(toks[0].text, "ing") && !known().given.MatchString(join(toks))
		}
	}
	return false
}

var modals = set([]string{"can", "cannot", "can't", "may", "must", "mustn't", "should", "shouldn't", "shall", "will", "won't", "is", "are", "isn't", "aren't", "do", "don't", "does", "doesn't", "has", "have", "cost", "costs", "get", "gets", "need", "needs", "require", "requires", "never", "expire", "expires"})

// isNews reports whether the words announce a resource that has no fields
// yet: "popular books" and "books with a waiting list" speak of known books.
func (p *reader) isNews(toks []lexeme) bool {
	for n, t := range toks[:min(3, len(toks))] {
		noun, ok := p.nouns[singular(t.text)]
		if !isPlural(t.text) {
			continue
		}
		return !ok || n == 0 && !p.entity(noun).Declared
	}
	return true
}

// partialWords begin clauses about some rows of a resource, not about all.
var partialWords = set([]string{"overdue", "no", "only", "all", "new", "closed", "open", "active", "inactive", "unique", "list", "search", "filter", "sort", "store", "use", "export", "import", "archive", "send", "support", "allow", "track", "manage", "add", "show", "return", "validate", "require", "block", "keep", "handle", "log", "get", "view", "see", "delete", "update", "create", "not", "never", "late", "expired"})

// announcesList reports whether a headline such as "build an employee
// directory: …" calls the service something and then lists what it keeps.
func (p *reader) announcesList(c clause) bool {
	last := c.toks[len(c.toks)-1]
	n := imperativeLength(c.toks)
	return n < len(c.toks) && (c.toks[n].text == "a" || c.toks[n].text == "an") && !isPlural(last.text) && strings.HasPrefix(strings.TrimSpace(p.task[last.end:]), ":")
}

var linking = pattern(`^(\w+) (?:link|connect|join|tie|relate) (?:a|an|one|the) (\w+) (?:to|with|and) (?:a|an|one|the) (\w+)$`)

func join(toks []lexeme) string {
	words := make([]string, len(toks))
	for i, t := range toks {
		words[i] = t.text
	}
	return strings.Join(words, " ")
}

func imperativeLength(toks []lexeme) int {
	return len(strings.Fields(imperative().FindString(join(toks) + " ")))
}

func (p *reader) isNoun(phrase string) bool {
	words := strings.Fields(phrase)
	return len(words) > 0 && len(words) <= 3 && !slices.ContainsFunc(words, func(w string) bool { return breaks[w] || verbs[w] || nobody[w] || determiners[w] })
}

// loginWords are clauses that speak of users as accounts.
var loginWords = pattern(`\busers?\b.*\b(?:own|register|sign up|log in|login|other users?)\b`)

// nounList reads "products (sku unique, price) and suppliers with a name".
// What it can't read is reported item by item.
func (p *reader) nounList(toks []lexeme) bool {
	last := ""
	for _, item := range p.items(toks) {
		last = p.nounItem(item, last)
	}
	return true
}

// items cuts a list at commas and "and" outside parentheses, and keeps fields
// that follow "with" together with their noun.
func (p *reader) items(toks []lexeme) [][]lexeme {
	var out [][]lexeme
	start, depth, fields, inner := 0, 0, false, 0
	cut := func(end int) {
		item := toks[start:end]
		for len(item) > 0 && (determiners[item[0].text] || item[0].text == ",") && item[0].text != "(" {
			item = item[1:]
		}
		if len(item) > 0 {
			out = append(out, item)
		}
		start, fields = end+1, false
	}
	for i, t := range toks {
		switch t.text {
		case "(", "[":
			depth++
		case ")", "]":
			depth--
		case "with", "having", "containing", "including", "that", "which", "who":
			if depth == 0 && i > start && (strings.HasSuffix(t.text, "ing") || declaring(toks[i:])) && p.phraseIsNoun(toks[start:i]) {
				fields, inner = true, i+1
			}
		case ",", "and", "/", "plus":
			if depth > 0 {
				continue
			}
			if fields && !p.startsNoun(toks[i+1:]) && !lastNoun(toks[inner:i], toks[i:]) {
				continue
			}
			cut(i)
		}
	}
	cut(len(toks))
	return out
}

// lastNoun reports whether ", and signups" ends a list of resources: the
// fields before it are complete without a comma.
func lastNoun(fields, rest []lexeme) bool {
	return len(rest) == 3 && rest[0].text == "," && rest[1].text == "and" && isPlural(rest[2].text) && guessType(rest[2].text) == String &&
		!slices.ContainsFunc(fields, func(t lexeme) bool { return t.text == "," })
}

func (p *reader) phraseIsNoun(toks []lexeme) bool {
	for len(toks) > 0 && determiners[toks[0].text] {
		toks = toks[1:]
	}
	return len(toks) > 0 && len(toks) <= 3 && !known().given.MatchString(join(toks))
}

// startsNoun reports whether, within a list of fields, another resource begins.
func (p *reader) startsNoun(toks []lexeme) bool {
	for len(toks) > 0 && (determiners[toks[0].text] || toks[0].text == ",") {
		toks = toks[1:]
	}
	for n := 1; n <= min(3, len(toks)) && isWord(toks[n-1].text) && toks[n-1].text != "and"; n++ {
		phrase := join(toks[:n])
		end := n == len(toks) || toks[n].text == "," || toks[n].text == "and" || toks[n].text == "(" || declaring(toks[n:])
		if !end || !isPlural(toks[n-1].text) || phrase == "roles" {
			continue
		}
		_, isKnown := known().nouns[singular(phrase)]
		guess := guessType(snake(phrase))
		if n < len(toks) && (declaring(toks[n:]) || toks[n].text == "(" && (isKnown || guess == String)) {
			return true
		}
		if isKnown && guess != List && (guess != Text || p.mentions(toks[n-1])) {
			return true
		}
	}
	return false
}

// declaring reports whether the words go on with fields: "with …", "that have …".
func declaring(toks []lexeme) bool {
	switch toks[0].text {
	case "with", "having":
		return true
	case "that", "which", "who":
		return len(toks) > 1 && (toks[1].text == "have" || toks[1].text == "has" || toks[1].text == "contain" || toks[1].text == "contains")
	}
	return false
}

// mentions reports whether the task uses the noun a second time.
func (p *reader) mentions(noun lexeme) bool {
	n := 0
	for _, t := range tokenize(p.task) {
		if singular(t.text) == singular(noun.text) {
			n++
		}
	}
	return n > 1
}

// nounItem reads one item of a list; last is the noun of the item before.
func (p *reader) nounItem(item []lexeme, last string) string {
	raw := p.task[item[0].start:item[len(item)-1].end]
	text := join(item)
	if known().given.MatchString(text) {
		p.cover(raw, "part of every generated service")
		return last
	}
	if p.feature(raw, p.canonical(item)) {
		return last
	}
	var owner string
	if strings.HasPrefix(strings.TrimSpace(strings.ToLower(p.task[max(0, item[0].start-6):item[0].start])), "their") || strings.HasSuffix(strings.TrimSpace(strings.ToLower(p.task[:item[0].start])), " its") || strings.HasSuffix(strings.TrimSpace(strings.ToLower(p.task[:item[0].start])), " their") {
		owner = last
	}
	head, rest := len(item), []lexeme(nil)
	for i, t := range item {
		if t.text == "(" || t.text == "with" || t.text == "having" || t.text == "containing" || t.text == "including" || t.text == "that" || t.text == "which" || t.text == "by" || t.text == "for" || t.text == "in" || t.text == "on" || t.text == "of" || t.text == "who" || verbs[t.text] {
			head, rest = i, item[i:]
			break
		}
	}
	words := item[:head]
	for _, suffix := range []string{"management", "data", "records", "tracking", "resource", "entity", "entities", "information", "crud"} {
		if n := len(words); n > 1 && words[n-1].text == suffix {
			words = words[:n-1]
		}
	}
	noun := singular(join(words))
	if modifier, head, two := strings.Cut(noun, " "); two && (modifier == "blog" || p.alone(head, item)) {
		if _, ok := known().nouns[head]; ok || strings.Count(strings.ToLower(p.task), noun) == 1 {
			noun = head
		}
	}
	_, isKnown := known().nouns[noun]
	declared := len(rest) > 0 && (rest[0].text == "(" || rest[0].text == "with" || rest[0].text == "having" || rest[0].text == "containing" || rest[0].text == "including")
	beyond := slices.ContainsFunc(words, func(t lexeme) bool { return known().beyond[t.text] || known().products[t.text] && !declared })
	if !p.isNoun(join(words)) || beyond || known().abilities[words[len(words)-1].text] && !declared {
		p.uncovered(raw)
		return last
	}
	plain := len(words) == head // no suffix such as "management"
	before := p.task[:item[0].start]
	if !isPlural(words[len(words)-1].text) && isKnown && plain && len(rest) == 0 && (strings.HasSuffix(before, "for a ") || strings.HasSuffix(before, "for an ") || strings.HasSuffix(before, "for my ") || strings.HasSuffix(before, "for our ")) {
		p.spec.Name = noun // "for a library": where it is used, not what it keeps
		return last
	}
	if !isPlural(words[len(words)-1].text) && plain && strings.HasSuffix(before, "a ") && declared && rest[0].text != "(" && len(rest) > 1 && isPlural(rest[1].text) && guessType(snake(rest[1].text)) != List {
		p.spec.Name = noun // "for a bookstore with authors"
		p.nounList(rest[1:])
		return last
	}
	if strings.HasSuffix(words[0].text, "ing") && len(words) > 1 && !isKnown && !declared && (len(rest) > 0 || p.nouns[singular(join(words[1:]))] != "") {
		p.uncovered(raw)
		return last
	}
	if !isPlural(words[len(words)-1].text) && !isKnown && !declared && plain {
		if len(rest) == 0 && item[0].start > 2 && (strings.HasSuffix(p.task[:item[0].start], "a ") || strings.HasSuffix(p.task[:item[0].start], "an ") || strings.HasSuffix(p.task[:item[0].start], "the ")) {
			if p.spec.Name == "" {
				p.spec.Name = noun
			}
			return last
		}
		if len(rest) > 0 && rest[0].text != "(" && item[0].start > 2 && strings.HasSuffix(p.task[:item[0].start], "a ") && (rest[0].text == "with" || rest[0].text == "having") {
			p.spec.Name = noun
			p.nounList(rest[1:])
			return last
		}
		p.uncovered(raw)
		return last
	}
	p.add(noun)
	if last != "" && last != noun && isMutual(rest) {
		p.mutual = append(p.mutual, mutual{a: last, b: noun, clause: raw})
		return noun
	}
	if owner != "" && owner != noun {
		p.ensureRef(noun, owner)
		p.cover(raw, "%s_id of a %s", snake(owner), noun)
	}
	if declared {
		p.entity(noun).Declared = true
		inner := rest[1:]
		if rest[0].text == "(" {
			closing := slices.IndexFunc(rest, func(t lexeme) bool { return t.text == ")" })
			depth := 0
			for i, t := range rest {
				if t.text == "(" {
					depth++
				} else if t.text == ")" {
					if depth--; depth == 0 {
						closing = i
						break
					}
				}
			}
			if closing < 0 {
				closing = len(rest)
			}
			inner = rest[1:closing]
			if closing+1 < len(rest) {
				tail := rest[closing+1:]
				p.append(append(slices.Clone(words), tail...))
			}
		}
		p.clauses = append(p.clauses, clause{raw: raw, label: noun, toks: inner, fields: true})
	} else if len(rest) > 0 {
		if rest[0].text == "that" || rest[0].text == "which" || rest[0].text == "who" {
			rest = rest[1:]
		}
		p.append(slices.Concat(words, rest))
	}
	return noun
}

// alone reports whether the task elsewhere uses the head of a two-word noun
// by itself: "blog posts … a post".
func (p *reader) alone(head string, item []lexeme) bool {
	toks := tokenize(p.task)
	for i, t := range toks {
		if singular(t.text) == head && t.start > item[len(item)-1].start && (i == 0 || determiners[toks[i-1].text] || verbs[toks[i-1].text] || !isWord(toks[i-1].text)) {
			return true
		}
	}
	return false
}

// subjects adds the resources that clauses talk about without announcing them.
func (p *reader) subjects(toks []lexeme) {
	n := subjectLength(toks)
	if n <= 0 || n >= len(toks) || subordinators[toks[0].text] {
		return
	}
	np := toks[:n]
	for len(np) > 0 && (determiners[np[0].text] || np[0].text == "no" || np[0].text == "only" || np[0].text == "one") {
		np = np[1:]
	}
	verb := toks[n].text
	phrase := join(np)
	noun := singular(phrase)
	_, isKnown := known().nouns[noun]
	_, isRole := known().words.Roles[noun]
	inFields := slices.ContainsFunc(p.spec.Entities, func(e Entity) bool { return e.field(snake(phrase)) != nil })
	if phrase != "" && p.isNoun(phrase) && p.nouns[noun] == "" && !isRole && !inFields {
		declares := (verb == "has" || verb == "have" || verb == "belongs" || verb == "belong" || verb == "consists" || verb == "consist") && (isKnown || guessType(snake(phrase)) == String)
		if declares && !p.containsKnown(phrase) || isKnown && noun != "user" && (verb == "can" || verb == "may" || verb == "cannot" || verb == "must") && (isPlural(np[len(np)-1].text) || len(toks) > 0 && determiners[toks[0].text]) {
			p.add(noun)
		}
	}
	rest := toks[n+1:]
	for i := range rest {
		noun := singular(rest[i].text)
		if _, ok := p.nouns[noun]; ok || known().abilities[rest[i].text] {
			continue
		}
		isTo := verb == "belongs" || verb == "belong"
		counted := i > 0 && known().words.Numbers[rest[i-1].text] > 0 && isPlural(rest[i].text)
		crud := (verb == "can" || verb == "may") && isPlural(rest[i].text)
		if _, ok := known().nouns[noun]; ok && (counted || crud || isTo) {
			p.add(noun)
		} else if isTo && i == len(rest)-1 && i > 0 && determiners[rest[i-1].text] {
			p.add(noun)
		}
	}
}

func (p *reader) containsKnown(phrase string) bool {
	for _, w := range strings.Fields(phrase) {
		if _, ok := p.nouns[singular(w)]; ok {
			return true
		}
	}
	return false
}
