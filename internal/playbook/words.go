package playbook

import (
	"regexp"
	"strconv"
	"strings"
	"sync"
	"unicode"
)

// lexeme is one word, number or punctuation mark of the task.
type lexeme struct {
	text       string // lower case, contractions opened
	start, end int    // in the task
	line       bool   // first on its line
	gap        bool   // after an empty line
}

var tokenPattern = pattern(`\^\S+?\$|[A-Za-z][A-Za-z0-9_'’]*(?:-[A-Za-z0-9_]+)*|\d+(?:\.\d+)?%?|->|→|>=|<=|≥|≤|\.\.+|\S`)

// camelCase is a name such as lastSeen or userID, and camelWord where it has
// its next word.
var (
	camelCase = pattern(`^[a-z]{2,}(?:[A-Z][a-z]+|ID|URL|IP|ISBN|SKU)+$`)
	camelWord = pattern(`([a-z])([A-Z])`)
)

// snakeCase is a word of the task as everything inside the package writes it.
func snakeCase(word string) string {
	if camelCase().MatchString(word) {
		word = camelWord().ReplaceAllString(word, "${1}_$2")
	}
	return strings.ToLower(word)
}

func tokenize(task string) []lexeme {
	var toks []lexeme
	last := 0
	for _, at := range tokenPattern().FindAllStringIndex(task, -1) {
		gap := task[last:at[0]]
		toks = append(toks, lexeme{
			text:  snakeCase(strings.ReplaceAll(task[at[0]:at[1]], "’", "'")),
			start: at[0], end: at[1],
			line: last == 0 || strings.Contains(gap, "\n"),
			gap:  strings.Count(gap, "\n") > 1,
		})
		last = at[1]
	}
	for i := range toks {
		if toks[i].text == "&" {
			toks[i].text = "and"
		}
	}
	for i, t := range toks[:max(0, len(toks)-1)] {
		if toks[i+1].text == "/" && methods[task[t.start:t.end]] {
			toks[i].text = "http-" + t.text // "POST /orders" speaks of no posts
		}
	}
	declareBySynonym(toks)
	return toks
}

// Verbs that say of a noun what "has" says, in both numbers.
var (
	recordsOne  = set([]string{"records", "captures", "comprises", "tracks", "carries"})
	recordsMany = set([]string{"record", "capture", "comprise", "track", "carry"})
	programs    = set([]string{"service", "api", "system", "app", "application", "server", "backend", "program", "tool", "software", "platform", "solution", "it"})
)

// declareBySynonym makes "A loan records a toy and a date" read as "A loan has a
// toy and a date". What the program records is another thing.
func declareBySynonym(toks []lexeme) {
	for i, t := range toks {
		if i != 0 && !t.line && toks[i-1].text != "." && toks[i-1].text != ";" {
			continue
		}
		for n := i; n < len(toks)-1 && n < i+4 && isWord(toks[n].text); n++ {
			one, many := recordsOne[toks[n].text], recordsMany[toks[n].text]
			if n == i || !one && !many {
				continue
			}
			subject := toks[n-1].text
			if determiners[toks[n+1].text] && !programs[subject] && isPlural(subject) == many && (many || determiners[toks[i].text]) {
				toks[n].text = map[bool]string{true: "have", false: "has"}[many]
			}
			break
		}
	}
}

var methods = set([]string{"GET", "POST", "PUT", "PATCH", "DELETE"})

// singular undoes English plural endings; a word that is not a plural stays.
func singular(word string) string {
	if i := strings.LastIndexByte(word, ' '); i >= 0 {
		return word[:i+1] + singular(word[i+1:])
	}
	if i := strings.LastIndexByte(word, '-'); i >= 0 {
		return word[:i+1] + singular(word[i+1:])
	}
	if s, ok := known().words.Irregular[word]; ok {
		return s
	}
	switch {
	case strings.HasSuffix(word, "ies") && len(word) > 4:
		return word[:len(word)-3] + "y"
	case strings.HasSuffix(word, "sses"), strings.HasSuffix(word, "ches"), strings.HasSuffix(word, "shes"), strings.HasSuffix(word, "xes"), strings.HasSuffix(word, "zzes"):
		return word[:len(word)-2]
	case strings.HasSuffix(word, "ss"), strings.HasSuffix(word, "us"), strings.HasSuffix(word, "is"), strings.HasSuffix(word, "'s"), len(word) < 3:
		return word
	case strings.HasSuffix(word, "s"):
		return word[:len(word)-1]
	}
	return word
}

func plural(noun string) string {
	if i := strings.LastIndexByte(noun, ' '); i >= 0 {
		return noun[:i+1] + plural(noun[i+1:])
	}
	if p, ok := known().plurals[noun]; ok {
		return p
	}
	switch {
	case strings.HasSuffix(noun, "y") && len(noun) > 1 && !strings.ContainsRune("aeiou", rune(noun[len(noun)-2])):
		return noun[:len(noun)-1] + "ies"
	case strings.HasSuffix(noun, "s"), strings.HasSuffix(noun, "x"), strings.HasSuffix(noun, "ch"), strings.HasSuffix(noun, "sh"), strings.HasSuffix(noun, "z"):
		return noun + "es"
	}
	return noun + "s"
}

func isPlural(word string) bool {
	return singular(word) != word || word == "equipment" || word == "staff"
}

func snake(s string) string {
	return strings.NewReplacer(" ", "_", "-", "_").Replace(strings.ToLower(strings.TrimSpace(s)))
}

func kebab(s string) string { return strings.ReplaceAll(snake(s), "_", "-") }

var initialisms = map[string]string{"id": "ID", "isbn": "ISBN", "url": "URL", "sku": "SKU", "uuid": "UUID", "api": "API", "ip": "IP", "vin": "VIN", "http": "HTTP", "html": "HTML", "json": "JSON", "uri": "URI"}

// goName is the exported Go name of a snake_case or camelCase name.
func goName(name string) string {
	var b strings.Builder
	for _, part := range strings.Split(snake(snakeCase(name)), "_") {
		if up, ok := initialisms[part]; ok {
			b.WriteString(up)
		} else if part != "" {
			b.WriteString(strings.ToUpper(part[:1]) + part[1:])
		}
	}
	return b.String()
}

// goVar is the unexported Go name of a snake_case or camelCase name.
func goVar(name string) string {
	parts := strings.SplitN(snake(snakeCase(name)), "_", 2)
	if len(parts) == 1 {
		return parts[0]
	}
	return parts[0] + goName(parts[1])
}

var contractions = map[string]string{
	"can't": "cannot", "cant": "cannot", "won't": "will not", "mustn't": "must not", "shouldn't": "should not", "doesn't": "does not",
	"don't": "do not", "isn't": "is not", "aren't": "are not", "couldn't": "could not", "hasn't": "has not", "haven't": "have not",
	"they've": "they have", "it's": "it is", "they're": "they are", "who's": "who is", "that's": "that is", "wasn't": "was not",
	"e-mail": "email", "e-mails": "emails", "max": "at most", "min": "at least", "maximum": "at most", "minimum": "at least",
	"≥": ">=", "≤": "<=", "→": "->", "&": "and", "isbn-13": "isbn", "isbn13": "isbn", "tz": "timezone", "log-in": "login", "rest-api": "rest api", "enum": "enum",
	"canceled": "cancelled", "programme": "program", "nonnegative": "non-negative", "plus": "and", "timestamps": "timestamps",
}

// rewrites bring a clause to one way of saying it; they are applied in order
// to words separated by single spaces.
var rewrites = sync.OnceValue(func() []func(string) string {
	pairs := [][2]string{
		{`\b(please|also|then|additionally|furthermore|moreover|simply|just|however|of course|currently|finally|ever|respectively|ideally|obviously|basically|further|automatically|explicitly|certainly)\b`, ``},
		{`^(?:,|and|but|so|while|whereas|where|note that|ensure that|ensure|make sure that|make sure|it must be ensured that|there (?:is|are)(?: also)?) `, ``},
		{`\b(?:a )?at most(?: number)? of\b`, `at most`},
		{`\b(?:a )?at least(?: number)? of\b`, `at least`},
		{`\b(?:a|the) (at most|at least)\b`, `$1`},
		{`\b(?:the|a|an|each|every|any|all|their|its|his|her|our|given|individual|some|particular|specific|certain)\b`, ``},
		{`\bsingle ((?:\w+ )?@)`, `#1 $1`},
		{`\b(?:is|are|be) (?:not|never) (?:allowed|permitted|able) to\b`, `cannot`},
		{`\bnot be (?:allowed|permitted|able) to\b`, `cannot`},
		{`\b(?:is|are|be) (?:allowed|permitted|able|free) to\b`, `can`},
		{`\b(?:may|must|should|can|could|shall|will|might|would|do|does) (?:not|never)(?: ever)?\b`, `cannot`},
		{`\b(?:must|should|shall|will) can\b`, `can`},
		{`\b(?:must|should|shall|will|may|can) cannot\b`, `cannot`},
		{`\b(?:may|might|could)\b`, `can`},
		{`\b(?:should|shall|will|would|has to|have to|needs to|need to|ought to)\b`, `must`},
		{`\bnever\b`, `cannot`},
		{`\bnot (?:allowed|permitted|possible) to\b`, `cannot`},
		{`\b(?:is|are) not\b`, `cannot be`},
		{`\b(?:no|not) more than\b`, `at most`},
		{`\b(?:up to|as many as|not exceed(?:ing)?|limited to|capped at)\b`, `at most`},
		{`\b(?:no|not) (?:less|fewer) than\b`, `at least`},
		{`\b(?:equal or greater than|greater than or equal to|>=)`, `at least`},
		{`\b(?:equal or less than|less than or equal to)\b`, `at most`},
		{`>=`, `at least`}, {`<=`, `at most`}, {`>`, `greater than`}, {`<`, `less than`},
		{`\bmore than\b`, `above`}, {`\bgreater than\b`, `above`}, {`\bbigger than\b`, `above`}, {`\bhigher than\b`, `above`}, {`\bover\b`, `above`},
		{`\b(?:less|fewer|lower|smaller) than\b`, `under`}, {`\bbelow\b`, `under`},
		{`\bsimultaneously\b|\bconcurrently\b|\bat once\b|\bat (?:one|#1|same|any|any #1|any given)? ?time\b|\bat any (?:point|moment)(?: in time)?\b|\bin parallel\b`, `at_once`},
		{`\bnon - negative\b`, `non-negative`}, {`\bread - only\b`, `read-only`},
		{`\b(\w+) '`, `$1`},
		{`(#\d+) \.\.+ (#\d+)`, `$1 to $2`},
		{`\s+`, ` `},
	}
	out := make([]func(string) string, len(pairs))
	for i, p := range pairs {
		re, to := regexp.MustCompile(p[0]), p[1]
		out[i] = func(s string) string { return re.ReplaceAllString(s, to) }
	}
	return out
})

// canonical is the clause in the language of the rule patterns: entities as
// @noun, numbers as #n, one word for each modality, no articles.
func (p *reader) canonical(toks []lexeme) string {
	var words []string
	for i := 0; i < len(toks); i++ {
		text := toks[i].text
		if text == `"` || text == "`" || text == "'" || text == "“" || text == "”" {
			continue
		}
		if c, ok := contractions[text]; ok {
			text = c
		}
		if len(text) > 2 && text[0] == '^' {
			words = append(words, "rx"+strconv.Itoa(toks[i].start)) // a regular expression, to be looked up
			continue
		}
		if noun, n := p.entityAt(toks, i); n > 0 {
			words = append(words, "@"+snake(noun))
			i += n - 1
			continue
		}
		if s, ok := strings.CutSuffix(text, "'s"); ok {
			text = s
			if noun, isEntity := p.nouns[singular(s)]; isEntity {
				text = "@" + snake(noun)
			}
		}
		if text == "one" && i+1 < len(toks) && toks[i+1].text == "of" {
			words = append(words, "one") // "one of", not "1 of"
			continue
		}
		if n, ok := known().words.Numbers[text]; ok {
			text = "#" + strconv.Itoa(n)
		} else if unicode.IsDigit(rune(text[0])) {
			text = "#" + text
		} else if text == "-" && i+1 < len(toks) && toks[i+1].start == toks[i].end && unicode.IsDigit(rune(toks[i+1].text[0])) && (i == 0 || toks[i-1].end < toks[i].start) {
			text = "#-" + toks[i+1].text
			i++
		} else if (text == "-" || text == "–") && i+1 < len(toks) && i > 0 && unicode.IsDigit(rune(toks[i+1].text[0])) && unicode.IsDigit(rune(toks[i-1].text[0])) {
			text = "to"
		}
		words = append(words, text)
	}
	s := strings.Join(words, " ")
	for _, rewrite := range rewrites() {
		s = strings.Join(strings.Fields(rewrite(s)), " ")
	}
	return s
}

// entityAt finds the longest noun of an entity that starts at token i. A word
// after "can" or "to" is a verb, even where it looks like a noun.
func (p *reader) entityAt(toks []lexeme, i int) (noun string, n int) {
	if i > 0 && p.verbAfter(toks, i) {
		return "", 0
	}
	for n = min(3, len(toks)-i); n > 0; n-- {
		words := make([]string, n)
		for k := range words {
			words[k] = toks[i+k].text
		}
		words[n-1] = strings.TrimSuffix(strings.TrimSuffix(words[n-1], "'s"), "'")
		if noun, ok := p.nouns[singular(strings.Join(words, " "))]; ok {
			return noun, n
		}
	}
	return "", 0
}

// verbAfter reports whether the word at i stands where only a verb can.
func (p *reader) verbAfter(toks []lexeme, i int) bool {
	if toks[i].text != singular(toks[i].text) {
		return false // "to loans" is a noun; a verb after "can" has no ending
	}
	switch toks[i-1].text {
	case "can", "cannot", "can't", "may", "must", "not", "should":
		return true
	case "to":
		return i > 1 && (toks[i-2].text == "allowed" || toks[i-2].text == "able" || toks[i-2].text == "has" || toks[i-2].text == "have")
	}
	return false
}

// cardinal reads a number out of a pattern's group.
func cardinal(s string) int {
	n, _ := strconv.Atoi(s) // the pattern has only digits
	return n
}
