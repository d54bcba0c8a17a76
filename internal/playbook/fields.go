package playbook

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// fields reads a list of fields into the entity. Items that it can't read are
// reported one by one.
func (p *reader) fields(noun string, toks []lexeme, raw string) {
	items := fieldItems(toks)
	for i := 0; i < len(items); i++ {
		item := items[i]
		if n := p.roleItems(noun, items[i:]); n > 0 {
			p.cover(raw, "roles of an account: %s", strings.Join(p.entity(noun).field("role").Values, ", "))
			i += n - 1
			continue
		}
		text := raw
		if item[0].end <= len(p.task) && p.task != "" && p.within(item) {
			text = p.task[item[0].start:item[len(item)-1].end]
		}
		if p.within(item) {
			if p.feature(text, p.canonical(item)) {
				continue
			}
			if finding().MatchString(item[0].text) && len(item) > 2 {
				p.append(item)
				continue
			}
		}
		if known().notFields[join(item)] || !p.fieldItem(noun, item, text) {
			p.uncovered(text)
		}
	}
}

var finding = pattern(`^(?:search|filter|sort|list)(?:ing)?$`)

// within reports whether the tokens are the task's own, not the knowledge base's.
func (p *reader) within(item []lexeme) bool {
	last := item[len(item)-1]
	return last.end <= len(p.task) && strings.EqualFold(p.task[item[0].start:item[0].end], item[0].text)
}

var enumTrigger = pattern(`\b(?:one of|either|any of|can be|being|enum|among)\b`)

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

type constraint struct {
	re    *regexp.Regexp
	apply func(f *Field, m []string)
}

const link = `(?:(?:which|that|,) )?(?:must be |must |is |are |be |can be |can |has to be |has |have )?`

// constraints are what a task can say about one field. They are cut out of
// its words; what is left is the field's name.
var constraints = sync.OnceValue(func() []constraint {
	list := append(formConstraints(), []constraintText{
		{`(?:must |has |have )?(?:at least|minimum length(?: of)?|at least length(?: of)?) #(\d+) (?:characters?|chars?)(?: long| in length)?(?: and at most #(\d+)(?: (?:characters?|chars?))?)?`, func(f *Field, m []string) { f.MinLen = cardinal(m[1]); f.MaxLen = cardinal(m[2]) }},
		{`(?:can (?:be|have) )?at most #(\d+) (?:characters?|chars?)(?: long| in length)?`, func(f *Field, m []string) { f.MaxLen = cardinal(m[1]) }},
		{`(?:cannot be |cannot have |cannot contain )(?:longer than|above) #(\d+) (?:characters?|chars?|letters?)(?: long)?`, func(f *Field, m []string) { f.MaxLen = cardinal(m[1]) }},
		{`(?:cannot be )(?:shorter than|under) #(\d+) (?:characters?|chars?|letters?)(?: long)?`, func(f *Field, m []string) { f.MinLen = cardinal(m[1]) }},
		{`(?:between|from|of|length(?: of)?)? ?#(\d+) (?:and|to|-) #(\d+) (?:characters?|chars?|letters?)(?: long| in length)?`, func(f *Field, m []string) { f.MinLen, f.MaxLen = cardinal(m[1]), cardinal(m[2]) }},
		{`(?:exactly|of) #(\d+) (?:characters?|chars?|letters?)(?: long)?`, func(f *Field, m []string) { f.MinLen, f.MaxLen = cardinal(m[1]), cardinal(m[1]) }},
		{`#(\d+) (?:characters?|chars?|letters?) or (?:more|longer)`, func(f *Field, m []string) { f.MinLen = cardinal(m[1]) }},
		{`#(\d+) (?:characters?|chars?|letters?) or (?:less|fewer|shorter)`, func(f *Field, m []string) { f.MaxLen = cardinal(m[1]) }},
		{`(?:length at most|at most length(?: of)?|max_length) #(\d+)`, func(f *Field, m []string) { f.MaxLen = cardinal(m[1]) }},
		{`(?:length at least|at least length(?: of)?|min_length) #(\d+)`, func(f *Field, m []string) { f.MinLen = cardinal(m[1]) }},

		{`non-negative|(?:cannot|can not) (?:be |become |go |get |drop |fall )?(?:negative|under #0|under zero)|positive or #0|#0 or (?:more|above|greater|higher|positive)|not negative`, func(f *Field, m []string) { f.Min = "0" }},
		{`strictly positive|positive|cannot be #0 or (?:less|negative|under)|cannot be negative or #0`, func(f *Field, m []string) { f.Above = "0" }},
		{`(?:integer |int |decimal )?(?:between|from|in range(?: of| from)?|within|range) #(-?[\d.]+)%? (?:and|to|-) #(-?[\d.]+)%?(?: inclusive| \( inclusive \))?`, func(f *Field, m []string) { f.Min, f.Max = m[1], m[2] }},
		{`(?:of )?#(-?[\d.]+) (?:to|-) #(-?[\d.]+)`, func(f *Field, m []string) { f.Min, f.Max = m[1], m[2] }},
		{`cannot be above #([\d.]+)%?|cannot exceed #([\d.]+)%?`, func(f *Field, m []string) { f.Max = m[1] + m[2] }},
		{`cannot be under #(-?[\d.]+)`, func(f *Field, m []string) { f.Min = m[1] }},
		{`at least #(-?[\d.]+)|#([\d.]+) or (?:more|above|greater|higher)`, func(f *Field, m []string) { f.Min = m[1] + m[2] }},
		{`at most #([\d.]+)%?|#([\d.]+) or (?:less|under|lower|fewer)`, func(f *Field, m []string) { f.Max = m[1] + m[2] }},
		{`above #(-?[\d.]+)`, func(f *Field, m []string) { f.Above = m[1] }},

		{`(?:defaulting|defaults?)\b ?(?:value )?(?:to|is|of|=|:)? ?#?(\w[\w.-]*)`, func(f *Field, m []string) { setDefault(f, m[1]) }},
		{`#?(\w[\w.-]*) by default`, func(f *Field, m []string) { setDefault(f, m[1]) }},

		{`unique (?:ignoring case|regardless of case|case-insensitively|case insensitively|\( case-insensitive \))|case-insensitive(?:ly)? unique`, func(f *Field, m []string) { f.Unique, f.Fold = true, true }},
		{`globally unique|unique|cannot be duplicated|cannot repeat`, func(f *Field, m []string) { f.Unique = true }},
		{`optional|optionally|nullable|if (?:known|present|available|any)|not required|not mandatory|cannot be required|can be (?:empty|null|missing|omitted|blank|left out)`, func(f *Field, m []string) { f.Optional = true }},
		{`required|mandatory|cannot be (?:empty|blank|null|missing|omitted)|non-empty|not (?:empty|null|blank)|non-blank|compulsory`, func(f *Field, m []string) { f.Optional = false; f.MinLen = max(f.MinLen, 1) }},
		{`immutable|cannot (?:be )?(?:changed?|modified|updated|edited)(?: later| afterwards| after creation| after it is created| once (?:set|created))?|set only (?:once|at creation)`, func(f *Field, m []string) { f.Immutable = true }},
		{`cannot be in future|not in future`, func(f *Field, m []string) { f.Target = "past" }},
		{`in future|cannot be in past|not in past`, func(f *Field, m []string) { f.Target = "future" }},
		{`in past`, func(f *Field, m []string) { f.Target = "past" }},

		{`(?:valid |of type |as |format )?email(?: address)? format|valid email(?: address)?`, func(f *Field, m []string) { f.Type = Email }},
		{`valid (?:url|web address|http url|link)`, func(f *Field, m []string) { f.Type = URL }},
		{`valid isbn`, func(f *Field, m []string) { f.Type = ISBN }},
		{`valid phone(?: number)?`, func(f *Field, m []string) { f.Type = Phone }},
		{`valid (?:uuid|guid)`, func(f *Field, m []string) { f.Type = UUID }},
		{`valid date`, func(f *Field, m []string) { f.Type = Date }},
		{`(?:\( |: ?|of type |type |as |in )?\b(?:string|varchar|str)\b`, func(f *Field, m []string) { f.Type = String }},
		{`(?:\( |: ?|of type |type |as )?\b(?:whole number|integer|int|int64|uint)\b`, func(f *Field, m []string) { f.Type = Int }},
		{`(?:\( |: ?|of type |type |as )?\b(?:decimal|float|float64|double|money)\b`, func(f *Field, m []string) { f.Type = Decimal }},
		{`(?:\( |: ?|of type |type |as )?\b(?:boolean|bool|true/false|true or false|yes/no|flag)\b`, func(f *Field, m []string) { f.Type = Bool }},
		{`(?:\( |: ?|of type |type |as )?\b(?:datetime|date-time|rfc3339|timestamptz|rfc 3339)\b`, func(f *Field, m []string) { f.Type = Timestamp }},
		{`(?:: ?|of type |type |as )\b(?:text)\b`, func(f *Field, m []string) { f.Type = Text }},
		{`(?:: ?|of type |type |as )\b(?:number|numeric)\b`, func(f *Field, m []string) { f.Type = Decimal }},
		{`(?:: ?|of type |type |as )\b(?:date)\b`, func(f *Field, m []string) { f.Type = Date }},
		{`(?:: ?|of type |type |as )\b(?:time|timestamp)\b`, func(f *Field, m []string) { f.Type = Timestamp }},
		{`(?:: ?|of type |type |as )\b(?:email)\b`, func(f *Field, m []string) { f.Type = Email }},
		{`(?:: ?|of type |type |as )\b(?:url)\b`, func(f *Field, m []string) { f.Type = URL }},
		{`(?:: ?|of type |type |as )\b(?:uuid)\b`, func(f *Field, m []string) { f.Type = UUID }},
		{`(?:: ?|of type |type |as )?\b(?:list|array) of (?:strings?|words)\b|\bstrings\b|\[ \] ?string`, func(f *Field, m []string) { f.Type = List }},
		{`^(?:list|array|set) of `, func(f *Field, m []string) { f.Type = List }},
	}...)
	out := make([]constraint, len(list))
	for i, c := range list {
		pattern := c.pattern
		if !strings.HasPrefix(pattern, "^") && !strings.HasPrefix(pattern, `(?:\(`) && !strings.HasPrefix(pattern, `(?:: `) {
			pattern = `(?:^|\s)` + link + `(?:` + pattern + `)(?:\s|$)`
		}
		out[i] = constraint{regexp.MustCompile(pattern), c.apply}
	}
	return out
})

func setDefault(f *Field, value string) {
	if value == "now" || value == "today" || value == "current" {
		f.Now = true
		return
	}
	f.Default = value
}

var (
	enumList   = pattern(`^(.*?)(?: :| \()? ?(?:which |that )?(?:must be |can be |is |are |be )?(?:one of|either|any of|among|being|enum(?: of)?|can be|values?|=) ?:? ?\(? ?(#?\w[\w-]*(?: ?(?:,|or|and|/|\|) ?(?:or |and )?\w[\w-]*)+) ?\)?$`)
	enumOr     = pattern(`^((?:\w+ ){0,2}(?:status|state|type|kind|role|priority|level|category|condition|visibility|gender|severity|size|grade|tier|mode|method|frequency|difficulty|urgency|stage|genre)) (?:: |, |is |of |\( )?(\w[\w-]*(?: ?(?:,|or|/|\|) ?(?:or |and )?\w[\w-]*)+)(?: \))?$`)
	enumPhrase = pattern(`^((?:\w+ )?(?:status|state|type|kind|condition|stage)) (?:: |of )([a-z][\w-]*(?: [a-z][\w-]*){0,2}(?: , (?:or )?[a-z][\w-]*(?: [a-z][\w-]*){0,2})* or [a-z][\w-]*(?: [a-z][\w-]*){0,2})$`)
	enumColon  = pattern(`^([a-z]\w*(?: \w+)?) : (\w[\w-]*(?: , (?:or )?\w[\w-]*)* (?:, )?or \w[\w-]*)$`)
	enumParens = pattern(`^([a-z][\w -]*?) (?:: )?\( ?(?:one of |either )?([a-z][\w-]*(?: [a-z][\w-]*){0,2}(?: ?(?:,|/|\|| or | and ) ?(?:or |and )?[a-z][\w-]*(?: [a-z][\w-]*){0,2})+) ?\)$`)
	fieldTerms = pattern(`\b(?:unique|optional|required|string|integer|int|decimal|number|boolean|bool|date|text|email|url|nullable|immutable|default\w*|at_once|at most|at least|non-negative|positive|must|cannot|characters|valid|mandatory|timestamp|uuid|money|float)\b|#`)
	listSep    = pattern(` ?(?:,|\bor\b|\band\b|/|\|) ?`)
	fieldName  = pattern(`^[a-z][a-z0-9_-]*(?: [a-z][a-z0-9_-]*){0,2}$`)
	preamble   = pattern(`^(?:following |these )?(?:fields|attributes|properties)(?: such as| like| of)? ?|^following `)
	trailing   = pattern(` ?(?:\b(?:which|that|must|is|are|can|has|have|be|with|and|of)|,|:|¦)$`)
	leading    = pattern(`^(?:¦|,|and|with|:|be|is|has|have|can have|can) `)
	suspicious = set([]string{"alphanumeric", "lowercase", "uppercase", "encrypted", "hashed", "sorted", "automatic", "generated", "calculated", "computed", "derived", "average", "random", "sequential", "auto-incremented", "autogenerated", "auto-generated", "historical", "nested", "multiple", "several", "many", "localized", "translated", "full-text", "rich", "geo", "geocoded", "valid", "other", "etc", "more", "own", "current", "only", "cannot", "must", "not", "always", "respective", "corresponding", "related", "next", "previous", "most", "least", "configurable", "dynamic", "custom", "polymorphic", "weighted", "recurring", "multi-currency", "timezone-aware"})
	implicit   = set([]string{"id", "identifier", "created_at", "updated_at", "created", "timestamps", "creation_timestamp", "creation_time"})
)

// reading is one item of a list of fields, read: what it says about the field
// is kept as edits, so that it can be said about a field that exists.
type reading struct {
	name   string
	field  Field // type, values and default only, until the edits
	edits  []func(*Field)
	scoped string // the noun within which it is unique
	said   bool   // that it is required
}

// gap stands where something was cut out, so that words on its two sides are
// not taken for one name.
const gap = "¦"

// dashed is a dash before what is said about a field: "email - unique".
var dashed = pattern(` [-–] (unique|optional|required|integer|decimal|string|boolean|date|positive|non-negative)\b`)

// emptied is the end of parentheses out of which something was cut.
var emptied = pattern(`(?: ?[,;])* ` + gap + ` \)`)

// readField cuts what is said about a field out of s.
func (p *reader) readField(s string) reading {
	var r reading
	f := &r.field
	s = enumeration(dashed().ReplaceAllString(s, " $1"), f)
	if m := scopedUnique().FindStringSubmatch(s); m != nil {
		r.scoped = m[1] + m[2]
		s = strings.TrimSpace(scopedUnique().ReplaceAllString(s, " "))
	}
	for _, c := range constraints() {
		m := c.re.FindStringSubmatch(s)
		if m == nil {
			continue
		}
		s = strings.Join(strings.Fields(strings.Replace(s, m[0], " "+gap+" ", 1)), " ")
		if f.Type == Enum && (c.re.MatchString(" string ") || c.re.MatchString(" bool ")) {
			continue
		}
		c.apply(f, m)
		r.edits = append(r.edits, func(f *Field) { c.apply(f, m) })
		r.said = r.said || strings.Contains(m[0], "required")
	}
	s = enumeration(emptied().ReplaceAllString(s, " )"), f)
	if f.Type == Enum {
		r.edits = append(r.edits, func(g *Field) { g.Type, g.Values = Enum, f.Values })
	}
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '(' || r == ')' || r == ' ' }), " ")
	for {
		t := leading().ReplaceAllString(trailing().ReplaceAllString(strings.TrimSpace(s), ""), "")
		if t == s {
			break
		}
		s = t
	}
	if s == "email address" {
		s = "email"
	}
	r.name = s
	if f.Type == Enum && f.Default == "" && len(f.Values) > 0 {
		f.Default = f.Values[0]
	}
	return r
}

// enumeration cuts the values of an enumeration out of s.
func enumeration(s string, f *Field) string {
	if f.Type != "" {
		return s
	}
	s = strings.Trim(s, " ,"+gap)
	m := enumList().FindStringSubmatch(s)
	if m == nil || !enumTrigger().MatchString(s) && !strings.Contains(s, " value") {
		if m = enumOr().FindStringSubmatch(s); m != nil && fieldTerms().MatchString(m[2]) {
			m = nil
		}
	}
	if m == nil {
		if m = enumParens().FindStringSubmatch(s); m != nil && (fieldTerms().MatchString(m[2]) || strings.HasPrefix(m[1], "@")) {
			m = nil
		}
	}
	if m == nil {
		if m = enumPhrase().FindStringSubmatch(s); m == nil {
			m = enumColon().FindStringSubmatch(s)
		}
		if m != nil && fieldTerms().MatchString(m[2]) {
			m = nil
		}
	}
	if m == nil {
		return s
	}
	f.Type, f.Values = Enum, splitValues(m[2])
	return m[1]
}

// fieldItem reads one item of a list of fields.
func (p *reader) fieldItem(noun string, item []lexeme, raw string) bool {
	many := isPlural(item[len(item)-1].text)
	s := preamble().ReplaceAllString(p.canonical(item), "")
	if s == "" {
		return true
	}
	if name, ok := extreme(item); ok {
		s = name
	}
	e := p.entity(noun)
	if m := statusMoves().FindStringSubmatch(s); m != nil {
		c := &clause{raw: raw}
		return p.states(c, snake(noun), m[1])
	}
	r := p.readField(s)
	f := r.field
	if r.name == "" && f.Form != "" {
		r.name = formName().FindString(strings.ToLower(join(item))) // "a MAC address": the format is the name
	}
	if strings.HasPrefix(s, "unique ") && isPlural(r.name) && guessType(r.name) != List {
		r.name = singular(r.name) // "teams with unique names"
	}
	if strings.HasPrefix(r.name, "@") {
		if !p.relationItem(e, r.name, many, f) {
			return false
		}
		p.cover(raw, "relation between %s and %s", noun, strings.TrimPrefix(r.name, "@"))
		return true
	}
	if m := refRole().FindStringSubmatch(r.name); m != nil && p.entity(m[2]) != nil && p.entity(m[2]) != e && !many {
		return p.roleRef(e, m[1], p.entity(m[2]).Noun, f, raw)
	}
	name := snake(r.name)
	if implicit[name] && f.Type != Enum {
		p.cover(raw, "%s has id, created_at and updated_at", noun)
		return true
	}
	if !goodName(r.name) || misread(item, f, name) {
		return false
	}
	old := e.field(name)
	if old != nil {
		f = *old
		for _, edit := range r.edits {
			edit(&f)
		}
	} else {
		p.complete(&f, name, r.said)
	}
	if f.Pattern != "" && !p.resolveForm(&f) || f.Fold && f.Type != String && f.Type != Text {
		return false
	}
	if f.Type == Enum && (len(f.Values) < 2 || !slices.Contains(f.Values, snakeValue(f.Default))) || f.Default != "" && !validDefault(f) || !boundsFit(f) {
		return false
	}
	if f.Type == Enum {
		f.Default = snakeValue(f.Default)
		if name == "role" && !strings.Contains(raw, "default") && slices.Contains(f.Values, leastRole(f.Values)) {
			f.Default = leastRole(f.Values)
		}
	}
	if old != nil {
		*old = f
	} else {
		e.Fields = append(e.Fields, f)
	}
	if r.scoped != "" {
		return p.scope(e, name, r.scoped, raw)
	}
	if p.within(item) {
		p.cover(raw, "field %s of %s: %s", name, noun, f.Describe())
	}
	return true
}

var formName = pattern(`\b(?:mac address|ipv4 address|semantic version|country code)\b`)

// misread reports whether words that are no name were taken for one: values
// that follow "status", a number of other things ("5 to 11 players"), and
// what stands in parentheses behind the name.
func misread(item []lexeme, f Field, name string) bool {
	head, rest, two := strings.Cut(name, "_")
	if two && (head == "status" || head == "state") && isState(rest) {
		return true
	}
	if isPlural(name) && f.Type == String && guessType(name) == String && f.Pattern == "" && !f.Unique && f.MinLen+f.MaxLen == 0 {
		return true // "accounts with deposits": records of their own, not a text
	}
	if (isNumber(item[0].text) || bounded().MatchString(join(item))) && isPlural(name) && guessType(name) == String {
		return true
	}
	if colon := slices.IndexFunc(item, func(t lexeme) bool { return t.text == ":" }); colon > 0 && colon+1 < len(item) && f.Type != Enum && strings.Contains("_"+name+"_", "_"+snake(item[colon+1].text)+"_") {
		return true
	}
	open := slices.IndexFunc(item, func(t lexeme) bool { return t.text == "(" })
	return open > 0 && open+2 < len(item) && f.Type != Enum && isWord(item[open+1].text) && !unit[item[open+1].text] && strings.HasSuffix(name, "_"+snake(item[open+1].text))
}

var unit = set([]string{"in", "kg", "g", "km", "m", "cm", "mm", "l", "ml", "minutes", "hours", "days", "seconds", "euro", "euros", "eur", "usd", "dollars", "cents", "percent"})

// refRole is a reference that has a role: a match has a home team and an away team.
var refRole = pattern(`^(home|away|primary|secondary|main|source|destination|target|origin|sending|receiving|first|second|lead|assigned|responsible|preferred|backup|departure|arrival) @(\w+)$`)

func (p *reader) roleRef(e *Entity, role, noun string, f Field, raw string) bool {
	name := role + "_" + snake(noun) + "_id"
	if f.Type != "" || f.Default != "" || e.field(name) != nil {
		return false
	}
	f.Name, f.Type, f.Ref = name, Reference, noun
	e.Fields = append(e.Fields, f)
	p.cover(raw, "%s of %s %s names %s %s", name, article(e.Noun), e.Noun, article(noun), noun)
	return true
}

// extreme reads a name such as "max students", which is a number of its own
// and no limit of another field.
func extreme(item []lexeme) (string, bool) {
	prefix, ok := map[string]string{"max": "max", "maximum": "max", "min": "min", "minimum": "min"}[item[0].text]
	if !ok || len(item) < 2 || len(item) > 4 {
		return "", false
	}
	for _, t := range item[1:] {
		if !isWord(t.text) || breaks[t.text] || t.text == "of" || t.text == "length" || fieldTerms().MatchString(t.text) || isNumber(t.text) {
			return "", false
		}
	}
	return prefix + "_" + snake(join(item[1:])), true
}

var statusMoves = pattern(`^(?:status|state) (?:that|which) (?:can )?(?:only )?(?:goes|go|moves|move|changes|transitions|progresses|can go|can move) (?:only )?from (\w+(?: (?:to|then|->|and then|or) (?:to )?\w+)+)$`)

// people are fields that stand for a record which the service does not have.
var people = set([]string{"manager", "supervisor", "parent", "boss", "user", "predecessor", "subordinates", "children", "followers", "friends"})

// ofName and inUnit are what a field's name may have besides its own words.
var (
	ofName = pattern(`^(?:date|time|place|country|city|year|month|day|point|type|mode|means) of `)
	inUnit = pattern(` in (?:seconds|minutes|hours|days|weeks|months|years|milliseconds|cents|euros?|dollars|usd|eur|gbp|pounds|percent|kilometres|kilometers|km|miles|metres|meters|cm|centimetres|centimeters|mm|kilograms|kilos|kg|grams|litres|liters|ml|hectares|acres|square metres|square meters|celsius|pages)$`)
)

func goodName(s string) bool {
	if people[s] || strings.Contains(s, " in ") && !strings.HasPrefix(s, "check in") && !inUnit().MatchString(s) {
		return false
	}
	s = strings.TrimPrefix(s, "number of ")
	s = ofName().ReplaceAllString(inUnit().ReplaceAllString(s, ""), "")
	return fieldName().MatchString(s) && !slices.ContainsFunc(strings.Fields(s), func(w string) bool {
		return suspicious[w] || breaks[w] || known().beyond[w] && w != "c" || determiners[w]
	})
}

// measured are numbers that are seldom whole.
var measured = set([]string{"value", "reading", "measurement", "humidity", "pressure", "voltage", "speed", "radius", "ph"})

// complete gives a new field what its name says where the task does not.
func (p *reader) complete(f *Field, name string, said bool) {
	f.Name = name
	if f.Type == "" {
		f.Type = guessType(name)
		if f.Type == String && f.Min+f.Max+f.Above != "" {
			f.Type = Int
			if measured[name[strings.LastIndexByte(name, '_')+1:]] || strings.Contains(f.Min+f.Max+f.Above, ".") {
				f.Type = Decimal
			}
		}
	}
	switch f.Type {
	case Text:
		if f.MaxLen == 0 {
			f.MaxLen = 10000
		}
		if !said && f.MinLen == 0 && name != "body" && name != "content" && name != "text" && name != "message" {
			f.Optional = true
		}
	case Bool:
		if f.Default == "" {
			f.Default = "false"
			if name == "active" || name == "enabled" || name == "available" || name == "in_stock" {
				f.Default = "true"
			}
		}
	case List:
		f.Optional = true
	case Password:
		if f.MinLen == 0 {
			f.MinLen = 8
		}
	case Timestamp:
		if slices.Contains([]string{"returned_at", "ended_at", "cancelled_at", "closed_at", "completed_at", "paid_at", "published_at"}, name) {
			f.Optional = true
		}
	}
}

var scopedUnique = pattern(`(?:^| )(?:must be |is |are )?unique (?:per|within|for|in|inside|among) (?:same )?@(\w+)|unique (?:per|within) (\w+)`)

// scope makes a field unique among the rows that share a reference.
func (p *reader) scope(e *Entity, name, target, raw string) bool {
	noun := strings.ReplaceAll(target, "_", " ")
	if p.entity(noun) == nil {
		return false
	}
	ref := p.ensureRef(e.Noun, noun)
	p.entity(e.Noun).field(name).Unique = false
	p.spec.Rules = append(p.spec.Rules, Rule{Kind: RulePair, Clause: raw, Entity: e.Noun, Fields: []string{ref, name}})
	return true
}

// relationItem reads an entity in a list of fields: "a loan has a book", "an
// order has many items".
func (p *reader) relationItem(e *Entity, s string, many bool, f Field) bool {
	target := strings.TrimPrefix(s, "@")
	target = strings.TrimSuffix(target, " id")
	if t := p.entity(target); t != nil {
		if f.Type != "" && f.Type != List || f.Unique && many {
			return false
		}
		if many || f.Type == List {
			if e.refTo(t.Noun) != nil {
				return false // many to many
			}
			p.ensureRef(t.Noun, e.Noun)
			return true
		}
		name := p.ensureRef(e.Noun, t.Noun)
		ref := e.field(name)
		ref.Optional, ref.Unique, ref.Immutable = f.Optional, f.Unique, f.Immutable
		return true
	}
	return false
}

func splitValues(s string) []string {
	var out []string
	for _, v := range listSep().Split(s, -1) {
		if v = strings.TrimPrefix(strings.TrimSpace(v), "#"); v != "" && !slices.Contains(out, snakeValue(v)) {
			out = append(out, snakeValue(v))
		}
	}
	return out
}

func snakeValue(s string) string { return strings.NewReplacer("-", "_", " ", "_").Replace(s) }

// guessType is the type that a field's name suggests.
func guessType(name string) FieldType {
	if of, _, per := strings.Cut(name, "_per_"); per {
		name = of // "price_per_night" is a price
	}
	if of := inUnit().FindStringIndex(strings.ReplaceAll(name, "_", " ")); of != nil {
		if strings.HasSuffix(name, "_cents") || strings.HasSuffix(name, "_pages") {
			return Int // there is no part of a cent
		}
		name = name[:of[0]] // "weight_in_kg" is a weight
		if t := guessType(name); t != String {
			return t
		}
		return Decimal
	}
	if strings.HasPrefix(name, "date_of_") || strings.HasSuffix(name, "_on") {
		return Date
	}
	if strings.HasPrefix(name, "time_of_") {
		return Timestamp
	}
	if strings.HasPrefix(name, "year_of_") || strings.HasPrefix(name, "max_") || strings.HasPrefix(name, "min_") {
		if t := guessType(name[strings.LastIndexByte(name, '_')+1:]); t == Decimal {
			return t
		}
		return Int
	}
	last := name[strings.LastIndexByte(name, '_')+1:]
	hints := known().fields
	for _, h := range hints {
		if slices.Contains(h.Names, name) {
			return h.Type
		}
	}
	for _, h := range hints {
		if slices.Contains(h.Heads, last) || slices.Contains(h.Heads, name) {
			return h.Type
		}
	}
	if strings.HasPrefix(name, "is_") || strings.HasPrefix(name, "has_") {
		return Bool
	}
	if strings.HasPrefix(name, "number_of_") {
		return Int
	}
	return String
}

func validDefault(f Field) bool {
	switch f.Type {
	case Enum:
		return slices.Contains(f.Values, snakeValue(f.Default))
	case Int:
		return strings.Trim(f.Default, "0123456789") == ""
	case Decimal:
		return strings.Trim(f.Default, "0123456789.") == ""
	case Bool:
		return f.Default == "true" || f.Default == "false"
	case String, Text, Currency:
		return true
	}
	return false
}

// boundsFit reports whether the constraints make sense for the type.
func boundsFit(f Field) bool {
	numeric := f.Type == Int || f.Type == Decimal
	textual := f.Type == String || f.Type == Text || f.Type == Password || f.Type == Email || f.Type == URL || f.Type == Slug || f.Type == ISBN || f.Type == Phone
	if (f.Min != "" || f.Max != "" || f.Above != "") && !numeric {
		return false
	}
	if (f.MinLen > 1 || f.MaxLen > 0) && !textual {
		return false
	}
	if f.Target != "" && f.Type != Date && f.Type != Timestamp {
		return false
	}
	for _, n := range []string{f.Min, f.Max, f.Above} {
		if f.Type == Int && strings.Contains(n, ".") {
			return false
		}
	}
	return true
}

// Describe says what the service holds a value of the field to.
func (f Field) Describe() string {
	parts := []string{string(f.Type)}
	add := func(ok bool, format string, args ...any) {
		if ok {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	add(f.Type == Enum, "one of %s", strings.Join(f.Values, ", "))
	add(f.Type == Reference, "id of a %s", f.Ref)
	add(!f.Optional && !f.ReadOnly && f.Default == "" && !f.Now, "required")
	add(f.Unique && f.Fold, "unique without regard to case")
	add(f.Unique && !f.Fold, "unique")
	add(f.Immutable, "set once")
	add(f.ReadOnly, "read-only")
	add(f.Min != "", "at least %s", f.Min)
	add(f.Above != "", "above %s", f.Above)
	add(f.Max != "", "at most %s", f.Max)
	add(f.MinLen > 1, "at least %d characters", f.MinLen)
	add(f.MaxLen > 0, "at most %d characters", f.MaxLen)
	add(f.Pattern != "", "%s", f.Form)
	add(f.Default != "", "default %s", f.Default)
	add(f.Now, "default now")
	add(f.Target != "", "not in the %s", map[string]string{"future": "past", "past": "future"}[f.Target])
	return strings.Join(parts, ", ")
}
