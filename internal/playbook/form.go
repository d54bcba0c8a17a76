package playbook

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// forms are the formats that have a name of their own, by how a task says it.
var forms = []struct{ words, pattern, what string }{
	{`mac(?: address)?`, `^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$`, "a MAC address"},
	{`ipv4(?: address)?`, `^((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\.){3}(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])$`, "an IPv4 address"},
	{`semver|semantic version`, `^[0-9]{1,9}\.[0-9]{1,9}\.[0-9]{1,9}$`, "a version such as 1.2.3"},
	{`e ?\. ?#?164|e164`, `^\+[1-9][0-9]{6,14}$`, "a number such as +4915112345678"},
	{`iso ?3166(?:-1)?(?: alpha-2| #2 letter| #2-letter)?(?: country)?(?: code)?|#2-letter country code|#2 letter country code`, `^[A-Z]{2}$`, "a country code such as DE"},
	{`iso ?4217(?: currency)?(?: code)?`, `^[A-Z]{3}$`, "a currency code such as EUR"},
	{`https url`, `^https://[^\s/]+\S*$`, "an https URL"},
	{`hh : mm`, `^([01][0-9]|2[0-3]):[0-5][0-9]$`, "a time such as 09:30"},
}

// classes are the kinds of characters that a task can restrict a text to.
var classes = map[string]string{
	"letter": "A-Za-z", "uppercase letter": "A-Z", "upper-case letter": "A-Z", "capital letter": "A-Z", "lowercase letter": "a-z", "lower-case letter": "a-z",
	"digit": "0-9", "number": "0-9", "numeral": "0-9", "dash": "-", "hyphen": "-", "underscore": "_", "dot": ".", "space": " ", "alphanumeric character": "A-Za-z0-9", "lowercase alphanumeric character": "a-z0-9", "uppercase alphanumeric character": "A-Z0-9",
}

const className = `(?:(?:uppercase |upper-case |capital |lowercase |lower-case )?letters?|(?:uppercase |lowercase )?alphanumeric characters?|digits?|numbers|numerals|dash(?:es)?|hyphens?|underscores?|dots?|spaces?)`

// classSet is the inside of a character class for "letters, digits and dashes".
func classSet(text string) (string, bool) {
	set := ""
	for _, name := range listSep().Split(text, -1) {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		class, ok := classes[singular(name)]
		if !ok {
			class, ok = classes[name]
		}
		if !ok {
			return "", false
		}
		if class == "-" {
			set += `\-`
		} else {
			set += class
		}
	}
	return set, set != ""
}

// formOf is the pattern for "16 uppercase letters or digits".
func formOf(text, least, most string) string {
	set, ok := classSet(text)
	if !ok {
		return ""
	}
	switch {
	case least == "" && most == "":
		return "^[" + set + "]+$"
	case least == most:
		return "^[" + set + "]{" + least + "}$"
	case most == "":
		return "^[" + set + "]{" + least + ",}$"
	}
	return "^[" + set + "]{" + least + "," + most + "}$"
}

// formConstraints are what a task can say about how a text is written.
func formConstraints() []constraintText {
	list := `(` + className + `(?: ?(?:,|and|or) ?(?:(?:and|or) )?` + className + `)*)`
	out := []constraintText{
		{`(?:must )?(?:match|matches|matching|pattern|regex|regexp|of form)(?: (?:pattern|regex|regexp|regular expression))? rx(\d+)`, func(f *Field, m []string) { f.Pattern = "rx" + m[1] }},
		{`(?:format|in format|of format|form|of form|formatted) (?:like |as )?([a-z]+-?\d[a-z\d-]*)`, func(f *Field, m []string) { f.Pattern = "like" + m[1] }},
		{`(?:exactly |of |of exactly )?#(\d+) ` + list + `(?: long)?`, func(f *Field, m []string) { f.Pattern = formOf(m[2], m[1], m[1]) }},
		{`(?:between |from )?#(\d+) (?:and|to|-) #(\d+) ` + list + `(?: long)?`, func(f *Field, m []string) { f.Pattern = formOf(m[3], m[1], m[2]) }},
		{`(?:of )?at least #(\d+) ` + list, func(f *Field, m []string) { f.Pattern = formOf(m[2], m[1], "") }},
		{`(?:of )?at most #(\d+) ` + list, func(f *Field, m []string) { f.Pattern = formOf(m[2], "1", m[1]) }},
		{`(?:of |made of |made up of |consists? of |contains? |can contain |cannot contain anything but |can only contain |only contain |with )?only ` + list, func(f *Field, m []string) { f.Pattern = formOf(m[1], "", "") }},
		{`(?:(?:only )?alphanumeric)(?: characters?)?(?: only)?`, func(f *Field, m []string) { f.Pattern = "^[A-Za-z0-9]+$" }},
		{`(?:all |only )(?:uppercase|upper-case|capitals)`, func(f *Field, m []string) { f.Pattern = "^[^a-z]+$" }},
		{`(?:all |only )(?:lowercase|lower-case)`, func(f *Field, m []string) { f.Pattern = "^[^A-Z]+$" }},
		{`kebab-case|kebab case`, func(f *Field, m []string) { f.Type = Slug }},
		{`((?:lowercase|uppercase|lower-case|upper-case) letters?(?: ?(?:,|and|or) ?(?:(?:and|or) )?` + className + `)+)`, func(f *Field, m []string) { f.Pattern = formOf(m[1], "", "") }},
	}
	for _, form := range forms {
		out = append(out, constraintText{`(?:(?:in |of |valid |as |an? )?(?:format |form )?)` + `(?:` + form.words + `)(?: format)?`, func(f *Field, _ []string) { f.Pattern, f.Form = form.pattern, form.what }})
	}
	return out
}

type constraintText struct {
	pattern string
	apply   func(f *Field, m []string)
}

// resolveForm turns what a task wrote into a regular expression that the
// generated code and its tests can work with.
func (p *reader) resolveForm(f *Field) bool {
	if f.Pattern == "" {
		return true
	}
	if at, ok := strings.CutPrefix(f.Pattern, "rx"); ok {
		start := cardinal(at)
		f.Pattern = writtenRegexp().FindString(p.task[start:])
	} else if example, ok := strings.CutPrefix(f.Pattern, "like"); ok {
		i := strings.Index(strings.ToLower(p.task), example)
		if i < 0 {
			return false
		}
		example = p.task[i : i+len(example)]
		f.Pattern, f.Form = byExample(example), "of the form "+example
	}
	if f.Form == "" {
		f.Form = "of the form " + f.Pattern
	}
	re, err := regexp.Compile(f.Pattern)
	if err != nil || f.Type != String && f.Type != Text && f.Type != Phone && f.Type != Slug && f.Type != URL && f.Type != ISBN && f.Type != Currency && f.Type != Int || f.Default != "" && !re.MatchString(f.Default) {
		return false
	}
	f.Type = String
	_, ok := sample(*f)
	return ok
}

var writtenRegexp = pattern(`^\^\S+?\$`)

// byExample is the pattern of texts that look like one: a letter for a letter
// of the same case, a digit for a digit.
func byExample(example string) string {
	var b strings.Builder
	b.WriteString("^")
	class := func(r rune) string {
		switch {
		case unicode.IsUpper(r):
			return "[A-Z]"
		case unicode.IsLower(r):
			return "[a-z]"
		case unicode.IsDigit(r):
			return "[0-9]"
		}
		return regexp.QuoteMeta(string(r))
	}
	runes := []rune(example)
	for i := 0; i < len(runes); {
		n := 1
		for i+n < len(runes) && class(runes[i+n]) == class(runes[i]) {
			n++
		}
		b.WriteString(class(runes[i]))
		if n > 1 {
			fmt.Fprintf(&b, "{%d}", n)
		}
		i += n
	}
	return b.String() + "$"
}

// piece is a part of a pattern: so many characters of a class.
type piece struct {
	class       []rune // pairs of first and last, as in regexp/syntax
	least, most int
}

// sample is a Go expression for a text that the pattern of the field takes,
// different for each n where the field is unique.
func sample(f Field) (expr string, ok bool) {
	tree, err := syntax.Parse(f.Pattern, syntax.Perl)
	if err != nil {
		return "", false
	}
	pieces, ok := flatten(tree.Simplify(), nil)
	if !ok {
		return "", false
	}
	least := f.MinLen
	for i, p := range pieces { // the shortest text that is long enough
		least -= p.least
		pieces[i].most = min(p.most, p.least+20)
	}
	count := -1
	for i, p := range pieces {
		if contains(p.class, '0', '9') && p.most >= 2 && (count < 0 || p.most > pieces[count].most) {
			count = i
		}
	}
	var format strings.Builder
	var args []string
	for i, p := range pieces {
		n := p.least
		if least > 0 && p.most > n {
			grow := min(least, p.most-n)
			n, least = n+grow, least-grow
		}
		if i == count {
			width := min(max(n, min(p.most, 4)), 18)
			fmt.Fprintf(&format, "%%0%dd", width)
			args = append(args, "n%1"+strings.Repeat("0", min(width, 15)))
			continue
		}
		format.WriteString(strings.ReplaceAll(strings.Repeat(string(pick(p.class)), n), "%", "%%"))
	}
	if count < 0 {
		text := strings.ReplaceAll(format.String(), "%%", "%")
		return strconv.Quote(text), !f.Unique && regexp.MustCompile(f.Pattern).MatchString(text)
	}
	expr = fmt.Sprintf("fmt.Sprintf(%q, %s)", format.String(), strings.Join(args, ", "))
	re := regexp.MustCompile(f.Pattern)
	return expr, re.MatchString(sampleText(expr, 1)) && re.MatchString(sampleText(expr, 37))
}

// sampleText is what the expression of sample gives for n.
func sampleText(expr string, n int) string {
	format, _, _ := strings.Cut(strings.TrimPrefix(expr, "fmt.Sprintf("), ", n%")
	text, err := strconv.Unquote(format)
	if err != nil || !strings.HasPrefix(expr, "fmt.Sprintf(") {
		text, _ = strconv.Unquote(expr) // a constant
		return text
	}
	return fmt.Sprintf(text, n)
}

// flatten lists the pieces of a pattern in order, by its first alternatives.
func flatten(re *syntax.Regexp, out []piece) ([]piece, bool) {
	switch re.Op {
	case syntax.OpEmptyMatch, syntax.OpBeginText, syntax.OpEndText, syntax.OpBeginLine, syntax.OpEndLine, syntax.OpQuest:
		return out, true
	case syntax.OpStar:
		if n := len(out); re.Sub[0].Op == syntax.OpCharClass && n > 0 && slices.Equal(out[n-1].class, re.Sub[0].Rune) {
			out[n-1].most = 1000
		}
		return out, true
	case syntax.OpLiteral:
		for _, r := range re.Rune {
			out = append(out, piece{[]rune{r, r}, 1, 1})
		}
		return out, true
	case syntax.OpCharClass:
		if n := len(out); n > 0 && slices.Equal(out[n-1].class, re.Rune) {
			out[n-1].least++
			out[n-1].most++
			return out, true
		}
		return append(out, piece{re.Rune, 1, 1}), true
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return append(out, piece{[]rune{'a', 'z'}, 1, 1}), true
	case syntax.OpPlus:
		n := len(out)
		out, ok := flatten(re.Sub[0], out)
		if ok && len(out) > 0 && len(out) == n+1 {
			out[n].most = 1000
		}
		return out, ok
	case syntax.OpCapture, syntax.OpAlternate:
		return flatten(re.Sub[0], out)
	case syntax.OpConcat:
		ok := true
		for _, sub := range re.Sub {
			if out, ok = flatten(sub, out); !ok {
				return nil, false
			}
		}
		return out, true
	}
	return nil, false
}

func contains(class []rune, first, last rune) bool {
	for i := 0; i+1 < len(class); i += 2 {
		if class[i] <= first && last <= class[i+1] {
			return true
		}
	}
	return false
}

// pick is a readable character of a class.
func pick(class []rune) rune {
	for _, r := range "ABCabc012" {
		if contains(class, r, r) {
			return r
		}
	}
	return class[0]
}
