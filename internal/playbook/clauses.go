package playbook

import (
	"slices"
	"strings"
)

// clause is one statement of the task.
type clause struct {
	raw   string
	toks  []lexeme
	label string // what stood before the colon of the list that it is in
	done  bool
	// fields is set on a list of the fields of label: "start date" in it is no verb.
	fields bool
}

var (
	verbs = set([]string{"can", "cannot", "can't", "may", "must", "mustn't", "should", "shouldn't", "shall", "will", "won't", "has", "have", "is", "are", "isn't", "aren't",
		"belongs", "belong", "consists", "consist", "contains", "contain", "goes", "go", "moves", "move", "starts", "start", "begins", "begin", "expires", "expire", "overlap", "overlaps",
		"reduces", "reduce", "decreases", "decrease", "increases", "increase", "decrements", "requires", "require", "need", "needs", "never", "doesn't", "does", "don't", "do", "refers", "refer", "references", "reference",
		"gets", "get", "deletes", "removes", "restores", "ends", "transitions", "defaults", "cascades", "takes", "subtracts", "adds", "counts", "equals"})
	breaks = set([]string{"which", "that", "who", "whose", "with", "without", "and", "or", "but", "when", "if", "while", "unless", "until", "before", "after", "once",
		"where", "to", "by", "from", "as", "between", "than", "because", "via", "using", "including", "(", ")", ",", ":", "[", "]", "->", "→", "/", "be", "one", "either"})
	subordinators = set([]string{"when", "if", "once", "after", "while", "unless", "until", "before", "whenever", "as", "upon", "because", "although"})
	quotes        = set([]string{`"`, "`", "'", "“", "”", "*", "_", "#"})
)

// listLabel marks what follows the colon of a headline.
const listLabel = ":"

// statements cuts the task into clauses, so that each can be understood, or
// reported, by itself.
func (p *reader) statements(task string) []clause {
	toks := tokenize(task)
	var out []clause
	var current []lexeme
	label, depth := "", 0
	flush := func() {
		out = p.split(task, label, current, out)
		current = nil
	}
	for i := 0; i < len(toks); i++ {
		t := toks[i]
		bullet := t.line && (t.text == "-" || t.text == "*" || t.text == "•" || t.text == "–")
		numbered := t.line && i+1 < len(toks) && (toks[i+1].text == "." || toks[i+1].text == ")") && strings.Trim(t.text, "0123456789") == ""
		if t.gap || bullet || numbered {
			flush()
			depth = 0
		}
		if t.gap && !bullet && !numbered {
			label = ""
		}
		if quotes[t.text] && depth == 0 || bullet {
			continue
		}
		if numbered {
			i++
			continue
		}
		switch t.text {
		case "(", "[", "{":
			depth++
		case ")", "]", "}":
			depth = max(0, depth-1)
		case ".", ";", "!", "?":
			if depth == 0 {
				flush()
				if label == listLabel || label != "" && i+1 < len(toks) && !toks[i+1].line {
					label = ""
				}
				continue
			}
		case "-", "–", "—":
			if depth == 0 && len(out) == 0 && i+1 < len(toks) && i > 0 && toks[i-1].end < t.start && t.end < toks[i+1].start && p.isHeadline(current) {
				flush() // "Playlist API - a playlist has …"
				label = listLabel
				continue
			}
		case ":":
			if depth > 0 {
				break
			}
			if p.isHeadline(current) || len(out) == 0 && imperative().MatchString(join(current)+" ") && p.announcesList(clause{toks: current}) {
				flush()
				label = listLabel
				continue
			}
			if n := len(current); n > 1 && enumNames[current[n-1].text] {
				current = append(current, lexeme{text: "one", start: t.start, end: t.end}, lexeme{text: "of", start: t.start, end: t.end})
				continue // "a status: open, closed"
			}
			if len(current) > 0 && len(current) <= 3 && !slices.ContainsFunc(current, func(t lexeme) bool { return verbs[t.text] || breaks[t.text] }) {
				label = task[current[0].start:current[len(current)-1].end]
				current = nil
				continue
			}
			continue
		}
		current = append(current, t)
	}
	flush()
	return out
}

func (p *reader) isHeadline(toks []lexeme) bool {
	return slices.ContainsFunc(toks, func(t lexeme) bool { return known().products[t.text] || t.text == "management" })
}

// split cuts a sentence where a new subject with its verb begins.
func (p *reader) split(task, label string, toks []lexeme, out []clause) []clause {
	start, depth := 0, 0
	cut := func(end int) {
		part := toks[start:end]
		for len(part) > 0 && (part[0].text == "," || part[0].text == "and" || part[0].text == "but") {
			part = part[1:]
		}
		for len(part) > 0 && (part[len(part)-1].text == "," || part[len(part)-1].text == "and") {
			part = part[:len(part)-1]
		}
		if len(part) > 0 {
			out = append(out, clause{raw: task[part[0].start:part[len(part)-1].end], toks: part, label: label})
		}
	}
	for i, t := range toks {
		switch t.text {
		case "(", "[":
			depth++
		case ")", "]":
			depth--
		}
		if depth > 0 || i <= start || t.text != "," && t.text != "and" && t.text != "but" {
			continue
		}
		if t.text == "and" && toks[i-1].text == "," {
			continue // the comma was the place to cut
		}
		if subordinators[toks[start].text] && !slices.ContainsFunc(toks[start:i], func(t lexeme) bool { return t.text == "," }) {
			continue
		}
		next := i + 1
		if t.text == "," && next < len(toks) && (toks[next].text == "and" || toks[next].text == "but" || toks[next].text == "so") {
			next++
		}
		hasVerb := slices.ContainsFunc(toks[start:i], func(t lexeme) bool { return verbs[t.text] })
		if t.text == "and" && !hasVerb && !p.isHeadline(toks[start:i]) {
			continue
		}
		n := subjectLength(toks[next:])
		switch {
		case n > 0:
			if t.text == "and" && !hasVerb && toks[next].text != "only" && !isPlural(toks[next].text) {
				continue
			}
			cut(i)
			start = next
		case n == 0 && hasVerb && (t.text != "," || next == i+2 || toks[next].text == "have" || toks[next].text == "has"):
			// "… and has a price": the subject is the one before.
			subject := subjectLength(toks[start:])
			if subject <= 0 || subordinators[toks[start].text] {
				continue
			}
			shared := slices.Clone(toks[start : start+subject])
			cut(i)
			rest := toks[next:]
			return p.splitShared(task, label, shared, rest, out)
		}
	}
	cut(len(toks))
	return out
}

// splitShared splits rest as if subject stood in front of it, and keeps the
// words of rest alone as what was written.
func (p *reader) splitShared(task, label string, subject, rest []lexeme, out []clause) []clause {
	n := len(out)
	out = p.split(task, label, append(subject, rest...), out)
	if len(out) > n {
		first := &out[n]
		first.raw = task[rest[0].start:first.toks[len(first.toks)-1].end]
	}
	return out
}

// subjectLength is how many words stand before the verb when toks begin a
// clause: 0 when they begin with the verb, -1 when they don't begin a clause.
func subjectLength(toks []lexeme) int {
	if len(toks) > 0 && subordinators[toks[0].text] {
		return 1 // "when …" is a clause by itself
	}
	for i, t := range toks {
		if verbs[t.text] && (i > 0 || t.text != "need") {
			if i == 1 && (toks[0].text == "a" || toks[0].text == "an" || toks[0].text == "the") {
				continue // "a start time": a noun that looks like a verb
			}
			return i
		}
		if breaks[t.text] && !(i == 0 && t.text == "one") || i > 7 {
			return -1
		}
	}
	return -1
}
