package playbook

import (
	"regexp"
	"strings"
	"sync"
)

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
		{`(?:\( (?:text) ?[,)¦]|(?:: ?|of type |type |as )\b(?:text)\b)`, func(f *Field, m []string) { f.Type = Text }},
		{`(?:\( (?:number|numeric) ?[,)¦]|(?:: ?|of type |type |as )\b(?:number|numeric)\b)`, func(f *Field, m []string) { f.Type = Decimal }},
		{`(?:\( (?:date) ?[,)¦]|(?:: ?|of type |type |as )\b(?:date)\b)`, func(f *Field, m []string) { f.Type = Date }},
		{`(?:\( (?:time|timestamp) ?[,)¦]|(?:: ?|of type |type |as )\b(?:time|timestamp)\b)`, func(f *Field, m []string) { f.Type = Timestamp }},
		{`(?:\( (?:email) ?[,)¦]|(?:: ?|of type |type |as )\b(?:email)\b)`, func(f *Field, m []string) { f.Type = Email }},
		{`(?:\( (?:url) ?[,)¦]|(?:: ?|of type |type |as )\b(?:url)\b)`, func(f *Field, m []string) { f.Type = URL }},
		{`(?:\( (?:uuid) ?[,)¦]|(?:: ?|of type |type |as )\b(?:uuid)\b)`, func(f *Field, m []string) { f.Type = UUID }},
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
