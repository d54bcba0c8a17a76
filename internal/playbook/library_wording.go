package playbook

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// wording is a task taken as words. Each part of the playbook marks the words
// that it explains; what nothing has explained is uncovered, so that a wish can
// be lost only by being explained wrongly, never by being overlooked.
type wording struct {
	text  string
	words []taskWord
}

type taskWord struct {
	lower      string
	stem       string
	start, end int
	used       bool
	joined     bool // by a hyphen to the word before
	breaks     bool // punctuation stands before it
}

// wordSpan is a range of words, the end excluded.
type wordSpan struct{ from, to int }

func readWording(task string) *wording {
	w := &wording{text: task}
	pending, hyphen := false, false
	for i := 0; i < len(task); {
		r, size := utf8.DecodeRuneInString(task[i:])
		if !wordRune(r) {
			switch {
			case r == '-' && len(w.words) > 0 && w.words[len(w.words)-1].end == i:
				hyphen = true
			case strings.ContainsRune(",;:.!?()\n—–", r):
				pending = true
			}
			i += size
			continue
		}
		end := wordEnd(task, i)
		lower := strings.ToLower(task[i:end])
		lower = strings.TrimSuffix(strings.TrimSuffix(lower, "'s"), "’s")
		w.words = append(w.words, taskWord{
			lower: lower, stem: wordStem(lower), start: i, end: end,
			joined: hyphen && w.words[len(w.words)-1].end+1 == i, breaks: pending,
		})
		pending, hyphen = false, false
		i = end
	}
	return w
}

// wordRune also counts the signs that carry meaning in a task: a=b, 10%, $5.
func wordRune(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("=<>%$€£+*/#&@|\\^~`\"", r)
}

func wordEnd(task string, start int) int {
	end := start
	for end < len(task) {
		r, size := utf8.DecodeRuneInString(task[end:])
		inner := (r == '\'' || r == '’' || r == '.' || r == '_') && end+size < len(task) && followsWord(task[end+size:])
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !inner {
			if end == start { // a sign is a word by itself
				return end + size
			}
			return end
		}
		end += size
	}
	return end
}

func followsWord(rest string) bool {
	r, _ := utf8.DecodeRuneInString(rest)
	return unicode.IsLetter(r) || unicode.IsDigit(r)
}

// wordStem maps the forms of a word to one: merge, merges, merged and merging.
// It need not be a word; the phrases it is compared with are stemmed alike.
func wordStem(word string) string {
	s := word
	switch {
	case len(s) > 4 && strings.HasSuffix(s, "ies"):
		s = s[:len(s)-3] + "y"
	case len(s) > 3 && strings.HasSuffix(s, "s") && !strings.HasSuffix(s, "ss") && !strings.HasSuffix(s, "us") && !strings.HasSuffix(s, "is"):
		s = s[:len(s)-1]
	}
	for _, suffix := range []string{"ing", "ed"} {
		if t := strings.TrimSuffix(s, suffix); t != s && len(t) >= 3 {
			s = t
			if n := len(s); s[n-1] == s[n-2] && !strings.ContainsRune("lsz", rune(s[n-1])) {
				s = s[:n-1]
			}
			break
		}
	}
	if len(s) > 3 && strings.HasSuffix(s, "e") {
		s = s[:len(s)-1]
	}
	if len(s) > 3 && strings.HasSuffix(s, "y") {
		s = s[:len(s)-1] + "i"
	}
	return s
}

// find returns where phrase occurs. A phrase is a sequence of words; a|b is
// either, a? may be missing, # is a number, #.# a
// version, * any one word. Words are
// compared by their stems, unless written 'exactly'.
func (w *wording) find(phrase string) []wordSpan {
	var spans []wordSpan
	parts := strings.Fields(phrase)
	for i := range w.words {
		if to, ok := w.matchAt(i, parts); ok && to > i {
			spans = append(spans, wordSpan{i, to})
		}
	}
	return spans
}

// findAny returns where any of the phrases occurs.
func (w *wording) findAny(phrases []string) []wordSpan {
	var all []wordSpan
	for _, p := range phrases {
		all = append(all, w.find(p)...)
	}
	return all
}

// compare orders spans by where they begin, the longer first.
func (s wordSpan) compare(other wordSpan) int {
	return cmp.Or(cmp.Compare(s.from, other.from), cmp.Compare(other.to, s.to))
}

func (w *wording) matchAt(i int, parts []string) (int, bool) {
	if len(parts) == 0 {
		return i, true
	}
	part, optional := strings.CutSuffix(parts[0], "?")
	if i < len(w.words) && w.words[i].matches(part) {
		if to, ok := w.matchAt(i+1, parts[1:]); ok {
			return to, true
		}
	}
	if optional {
		return w.matchAt(i, parts[1:])
	}
	return 0, false
}

func (t taskWord) matches(part string) bool {
	for alternative := range strings.SplitSeq(part, "|") {
		exact := strings.Trim(alternative, "'")
		switch {
		case alternative == "*",
			alternative == "#" && t.isNumber(),
			alternative == "#.#" && t.lower[0] <= '9' && strings.Trim(t.lower, "0123456789.x") == "",
			exact != alternative && exact == t.lower,
			exact == alternative && wordStem(alternative) == t.stem:
			return true
		}
	}
	return false
}

func (t taskWord) isNumber() bool {
	_, ok := t.number()
	return ok
}

func (t taskWord) number() (int, bool) {
	if n, err := strconv.Atoi(t.lower); err == nil {
		return n, true
	}
	names := strings.Fields("zero one two three four five six seven eight nine ten eleven twelve")
	if i := slices.Index(names, t.lower); i >= 0 {
		return i, true
	}
	switch t.lower {
	case "fifteen":
		return 15, true
	case "twenty":
		return 20, true
	case "fifty":
		return 50, true
	case "hundred":
		return 100, true
	}
	return 0, false
}

// has reports whether any of the phrases occurs.
func (w *wording) has(phrases ...string) bool {
	return slices.ContainsFunc(phrases, func(p string) bool { return len(w.find(p)) > 0 })
}

// explain marks every occurrence of the phrases as understood, and returns them.
func (w *wording) explain(phrases ...string) []wordSpan {
	var all []wordSpan
	for _, p := range phrases {
		spans := w.find(p)
		for _, s := range spans {
			w.mark(s)
		}
		all = append(all, spans...)
	}
	return all
}

func (w *wording) mark(s wordSpan) {
	for i := s.from; i < s.to; i++ {
		w.words[i].used = true
	}
}

// numberIn returns the first number within s.
func (w *wording) numberIn(s wordSpan) (int, bool) {
	for _, t := range w.words[s.from:s.to] {
		if n, ok := t.number(); ok {
			return n, true
		}
	}
	return 0, false
}

// clauseStarts are words at which a new wish begins.
const clauseStarts = "and with that which plus but then also while or including supporting without where when using"

// clause returns the words around i up to the next boundary on either side.
func (w *wording) clause(i int) wordSpan {
	starts := strings.Fields(clauseStarts)
	from := i
	for from > 0 && !w.words[from].breaks && !slices.Contains(starts, w.words[from].lower) {
		from--
	}
	to := i + 1
	for to < len(w.words) && !w.words[to].breaks && !slices.Contains(starts, w.words[to].lower) {
		to++
	}
	return wordSpan{from, to}
}

// quote returns the words of s as the task wrote them.
func (w *wording) quote(s wordSpan) string {
	if s.from >= s.to {
		return ""
	}
	start, end := w.words[s.from].start, w.words[s.to-1].end
	return strings.Join(strings.Fields(w.text[start:end]), " ")
}

// clauseOf quotes the clause around s, without its leading conjunctions.
func (w *wording) clauseOf(s wordSpan) string {
	c := w.clause(s.from)
	c.to = max(c.to, s.to)
	starts := strings.Fields(clauseStarts)
	for c.from < s.from && slices.Contains(starts, w.words[c.from].lower) {
		c.from++
	}
	return w.quote(c)
}

// claimed reports whether a task that was understood in part is what it was
// taken for: all of it is understood, or it says so and most of it is.
func (w *wording) claimed(said bool) bool {
	unexplained := 0
	for _, t := range w.words {
		if !t.used {
			unexplained++
		}
	}
	return unexplained == 0 || said && unexplained*2 <= len(w.words)
}

// uncovered quotes the clauses in which something is unexplained, in order.
func (w *wording) uncovered() []string {
	var out []string
	last := -1
	for i, t := range w.words {
		if t.used || i < last {
			continue
		}
		c := w.clause(i)
		last = c.to
		if q := w.clauseOf(wordSpan{i, i + 1}); q != "" && !slices.Contains(out, q) {
			out = append(out, q)
		}
	}
	return out
}

// fillerWords say nothing that a program could do or leave out. Negations,
// numbers, "by", "per" and "only" are not among them: they change a wish.
const fillerWords = `a an the this some any all it its their them they there these those such that which who whose what when where
i me my we us our you your please would should could shall will can may must need needs want wants like let lets
write create build make implement develop design produce provide give offer support supports supporting allow allows enable
have has having include including contain expose use used using uses usage do does doing be is are was being been get
of for to from into in on at as with and or also plus both then so if via over within through along together
go golang code project repo repository module function functions method methods implementation implementing
simple small tiny little lightweight clean idiomatic efficient fast quick robust reliable tested documented easy basic minimal
modern proper good nice full complete reusable new common standard typical usual various different given specified certain
implements implemented creates creating builds building makes making provides providing offers offering writes allowing enabling
well production ready high quality performance performant readable correct correctly properly useful helpful handy
user users someone people etc operation operations feature features functionality capability capabilities
able work works working handle handles handling flexible customizable own other another following e.g eg i.e / & but too while mode respect respects respecting like such`

// qualityPhrases are wishes that every generated program and package meets.
var qualityPhrases = []string{
	"unit|table|example? test", "test|testing|tests", "doc|docs|documentation|godoc|comment", "readme", "example", "ci", "github action|actions|workflow",
	"no|zero|without external|third? part? dependency|dependencies", "no|zero|without dependency|dependencies",
	"without|no any? external|third-party dependency|dependencies|package|library|libraries", "dependency free", "standard|std library only?", "only? the? standard|std library",
	"stdlib only?", "only stdlib",
	"error handling", "clear|good|proper|helpful|meaningful|useful|descriptive error message?", "best practice", "edge case", "gofmt", "go vet",
}

// packagePhrases are wishes that every generated package meets besides.
var packagePhrases = []string{"benchmark", "property|property-based based? test", "type safe|safety"}

// explainFillers marks what carries no wish, and the qualities that hold anyway.
func (w *wording) explainFillers() {
	w.explain(qualityPhrases...)
	known := strings.Fields(fillerWords)
	for i := range w.words {
		if slices.Contains(known, w.words[i].lower) {
			w.words[i].used = true
		}
	}
}

// named returns the name that the task gives to what it asks for: "called X".
func (w *wording) named() string {
	for _, s := range w.find("called|named|titled *") {
		w.mark(s)
		last := s.from + 1
		for last+1 < len(w.words) && w.words[last+1].joined {
			last++
		}
		w.mark(wordSpan{s.from, last + 1})
		if name := kebabName(w.quote(wordSpan{s.from + 1, last + 1})); name != "" {
			return name
		}
		// A quoted name: called "x".
		if s.to < len(w.words) {
			w.mark(wordSpan{s.to, min(s.to+2, len(w.words))})
			return kebabName(w.words[s.to].lower)
		}
	}
	return ""
}

// kebabName turns text into a name of lower-case words joined by hyphens.
func kebabName(text string) string {
	return strings.Join(strings.FieldsFunc(strings.ToLower(text), func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9')
	}), "-")
}

// packageName turns a kebab-case name into an identifier for a package.
func packageName(name string) string {
	s := strings.ReplaceAll(name, "-", "")
	if s == "" || s[0] >= '0' && s[0] <= '9' || slices.Contains(reservedNames, s) {
		s = "pkg" + s
	}
	return s
}

// reservedNames are keywords, predeclared names and standard packages that
// the generated code uses, none of which can be a package's own name.
var reservedNames = strings.Fields(`break case chan const continue default defer else fallthrough for func go goto if import
interface map package range return select struct switch type var any bool byte error int string main init test testing
fmt io os bytes strings strconv errors flag bufio context sort slices maps time sync math cmp iter json csv xml html unicode`)
