package playbook

import (
	"slices"
	"strings"
)

// fieldItems cuts a list of fields at commas and "and", but not inside
// parentheses, ranges and enumerations.
func fieldItems(toks []lexeme) [][]lexeme {
	var out [][]lexeme
	start, depth := 0, 0
	cut := func(end int) {
		item := toks[start:end]
		for len(item) > 0 && (determiners[item[0].text] && item[0].text != "following" || item[0].text == "," || item[0].text == "with" || item[0].text == ":") {
			item = item[1:]
		}
		if len(item) > 0 {
			out = append(out, item)
		}
		start = end + 1
	}
	for i, t := range toks {
		switch t.text {
		case "(", "[":
			depth++
		case ")", "]":
			depth--
		case ",", "and", ";":
			if depth > 0 || i+1 >= len(toks) || t.text == "," && i > start && continues(toks[i+1:]) {
				continue
			}
			item := join(toks[start:i])
			if t.text == "and" && strings.Contains(item, "between") && isNumber(toks[i-1].text) && isNumber(toks[i+1].text) {
				continue
			}
			if t.text == "," && valueList(toks[start:i], toks[i+1:]) {
				continue
			}
			if enumTrigger().MatchString(item) || isStatus(toks[start:i]) {
				or := slices.IndexFunc(toks[start:], func(t lexeme) bool { return t.text == "or" })
				if or < 0 && enumTrigger().MatchString(item) || or >= 0 && start+or > i {
					continue
				}
			}
			cut(i)
		}
	}
	cut(len(toks))
	for i := range len(out) - 1 {
		a, b := out[i], out[i+1]
		if len(a) == 1 && len(b) == 2 && moments[a[0].text] && moments[b[0].text] && (guessType(singular(b[1].text)) == Date || singular(b[1].text) == "time") {
			head := b[1]
			head.text = singular(head.text)
			out[i], out[i+1] = []lexeme{a[0], head}, []lexeme{b[0], head} // "a start and end date"
		}
	}
	return out
}

var moments = set([]string{"start", "end", "begin", "check-in", "check-out", "checkin", "checkout", "departure", "arrival", "pickup", "pick-up", "drop-off", "return", "issue", "due", "opening", "closing", "birth", "expiry", "from", "to", "first", "last"})

// valueList reports whether a comma stands between the values of "priority
// low, medium or high", "status, draft or published" or "severity: minor, major".
func valueList(item, rest []lexeme) bool {
	for len(item) > 0 && (determiners[item[0].text] || alone[item[0].text]) {
		item = item[1:]
	}
	colon := len(item) > 2 && item[1].text == ":"
	if len(item) == 0 || !colon && !enumNames[item[0].text] {
		return false
	}
	for i, t := range item[1:] {
		if t.text != "," && (t.text != ":" || i > 0) && !isValue(t.text) {
			return false
		}
	}
	if states := item[0].text == "status" || item[0].text == "state"; (colon || states && len(item) > 1) && enumNames[item[0].text] && (len(rest) == 1 || rest[1].text == "," || rest[1].text == "and") {
		if isValue(rest[0].text) && !known().usual[rest[0].text] && (colon || isState(rest[0].text) && isState(item[len(item)-1].text)) {
			return true // "category: fresh, canned", "a status pending, captured"
		}
	}
	words := 0
	for i, t := range rest {
		switch {
		case t.text == "or":
			return words > 0 && i+1 < len(rest) && isValue(rest[i+1].text)
		case t.text == "," && words > 0:
			words = 0
		case words == 0 && isValue(t.text):
			words = 1
		default:
			return false
		}
	}
	return colon && words > 0 && enumNames[item[0].text]
}

// isValue reports whether a word can be a value of an enumeration: nothing
// that is said about fields, and no field that has a type of its own.
func isValue(s string) bool {
	return isWord(s) && !breaks[s] && !fieldTerms().MatchString(s) && !enumNames[s] && (guessType(s) == String || guessType(s) == Bool || guessType(s) == Text && s == "text")
}

// isState reports whether a word says how something is, as states do.
func isState(s string) bool {
	return strings.HasSuffix(s, "ed") || strings.HasSuffix(s, "ing") || known().final[s] || states[s]
}

var states = set([]string{"new", "open", "draft", "active", "inactive", "paid", "sent", "done", "todo", "in_progress", "in-progress", "in_transit", "lost", "live", "free", "available", "unavailable", "idle", "ready", "won", "sold", "online", "offline", "applied", "private", "public"})

// goesOn are words that say more about the field before the comma.
var (
	goesOn = set([]string{"defaulting", "defaults", "default", "which", "that", "must", "at", "between", "never", "cannot", "can't"})
	alone  = set([]string{"optional", "unique", "required", "non-negative", "positive", "immutable"})
)

// continues reports whether what follows a comma belongs to the field before
// it: "a sku, unique," but not "a sku, unique email".
func continues(toks []lexeme) bool {
	if goesOn[toks[0].text] {
		return true
	}
	return alone[toks[0].text] && (len(toks) == 1 || toks[1].text == "," || toks[1].text == "and" || toks[1].text == ")")
}

func isNumber(s string) bool {
	_, word := known().words.Numbers[s]
	return word || strings.Trim(s, "0123456789.%") == ""
}

// isStatus reports whether the words are "status open …": a name that is
// usually an enumeration, and a first value.
func isStatus(item []lexeme) bool {
	for len(item) > 0 && determiners[item[0].text] {
		item = item[1:]
	}
	if len(item) > 2 && enumNames[item[0].text] && item[1].text == "of" {
		return true
	}
	return len(item) > 1 && (item[0].text == "status" || item[0].text == "state") && !verbs[item[1].text] && item[1].text != "("
}

var enumNames = set([]string{"status", "state", "type", "kind", "role", "priority", "level", "category", "condition", "visibility", "gender", "severity", "size", "grade", "tier", "mode", "method", "frequency", "difficulty", "urgency", "stage", "genre", "species", "currency", "breed", "weekday", "unit"})
