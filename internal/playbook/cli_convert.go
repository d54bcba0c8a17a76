package playbook

import (
	"slices"
	"strings"
)

func formatOf(name string) formatKnowledge {
	formats := knownCLI().Formats
	if i := slices.IndexFunc(formats, func(f formatKnowledge) bool { return f.Name == name }); i >= 0 {
		return formats[i]
	}
	return formatKnowledge{}
}

type mention struct {
	format formatKnowledge
	at     wordSpan
}

// mentions finds the formats in a task, the longest name first where two begin
// at one word.
func mentions(w *wording) []mention {
	var all []mention
	for _, f := range knownCLI().Formats {
		for _, name := range f.Names {
			for _, s := range w.find(name) {
				all = append(all, mention{f, s})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b mention) int {
		if a.at.from != b.at.from {
			return a.at.from - b.at.from
		}
		return b.at.to - a.at.to
	})
	var out []mention
	for _, m := range all {
		if len(out) == 0 || m.at.from >= out[len(out)-1].at.to {
			out = append(out, m)
		}
	}
	return out
}

var convertVerbs = []string{"convert|converts|converting|conversion|converter|transform|translate|export|import|turn|reformat|transcode|render", "pretty print|printer|printing|printed", "prettify|beautify|minify|format"}

// parseConvert reads what a converter of records is to do.
func (c *CLISpec) parseConvert(w *wording) bool {
	found := mentions(w)
	verb := w.has(convertVerbs...)
	conv := &ConvertSpec{Features: map[string]bool{}, Delimiter: ",", OutComma: ","}
	conv.split(w, found)
	features := conv.findFeatures(w)
	if len(found) == 0 || !verb && len(conv.From)+len(conv.To) < 2 && len(features) == 0 {
		return false
	}
	if !verb && len(features) == 0 && !w.between(found) {
		return false // formats are named, but nothing goes from one to the other
	}
	refused := conv.refuse()
	conv.complete()
	if len(conv.From) == 0 || len(conv.To) == 0 {
		return false
	}
	c.Convert = conv
	c.About = "converts " + formatTitles(conv.From) + " to " + formatTitles(conv.To)
	if slices.Equal(conv.From, conv.To) && len(conv.From) == 1 {
		c.About = "rewrites " + formatTitles(conv.From)
	}
	for _, m := range found {
		if !slices.Contains(refused, m.format.Name) {
			w.mark(m.at)
			c.cover(w.clauseOf(m.at), c.About)
		}
	}
	c.explainConvert(w, conv, features)
	return true
}

// between reports whether a word leads from one format to another.
func (w *wording) between(found []mention) bool {
	for i := 1; i < len(found); i++ {
		for _, t := range w.words[found[i-1].at.to:found[i].at.from] {
			if slices.Contains(strings.Fields("to into as →"), t.lower) {
				return true
			}
		}
	}
	return w.has("between")
}

// split decides which formats come in and which go out.
func (s *ConvertSpec) split(w *wording, found []mention) {
	both := w.has("between") || w.has("vice versa", "and back", "both direction|directions|ways", "two way", "bidirectional", "in either direction", "round trip")
	out := false
	for i, m := range found {
		from := 0
		if i > 0 {
			from = found[i-1].at.to
		}
		for _, t := range w.words[from:m.at.from] {
			switch {
			case slices.Contains(strings.Fields("to into as → output outputs produce produces print prints emit emits write writes export generate generates"), t.lower) && i > 0,
				slices.Contains(strings.Fields("output outputs emit emits generate generates"), t.lower):
				out = true
			case slices.Contains(strings.Fields("from read reads reading parse parses input"), t.lower):
				out = false
			}
		}
		if both || !out {
			s.From = appendNew(s.From, m.format.Name)
		}
		if both || out {
			s.To = appendNew(s.To, m.format.Name)
		}
	}
}

func appendNew(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

// refuse takes out the directions that the playbook lacks, and returns their formats.
func (s *ConvertSpec) refuse() []string {
	var refused []string
	s.From = slices.DeleteFunc(s.From, func(f string) bool {
		if !formatOf(f).Read {
			refused = append(refused, f)
		}
		return !formatOf(f).Read
	})
	s.To = slices.DeleteFunc(s.To, func(f string) bool {
		if !formatOf(f).Write {
			refused = append(refused, f)
		}
		return !formatOf(f).Write
	})
	return refused
}

// complete fills in what a task leaves out: a rewritten format goes back to
// itself, and a table without an output is printed as it came.
func (s *ConvertSpec) complete() {
	if len(s.To) == 0 && len(s.From) == 1 && formatOf(s.From[0]).Write {
		s.To = slices.Clone(s.From)
	}
	if len(s.From) == 0 && len(s.To) == 1 && formatOf(s.To[0]).Read {
		s.From = slices.Clone(s.To)
	}
}

func (s *ConvertSpec) findFeatures(w *wording) []featureKnowledge {
	var found []featureKnowledge
	for _, f := range knownCLI().Features {
		if w.has(f.Phrases...) {
			found = append(found, f)
		}
	}
	return found
}

// convertWords are the vocabulary of conversions; they ask for nothing that a
// converter lacks.
var convertWords = []string{
	"take|takes|taking", "file|files", "format|formats", "data", "document|documents", "record|records", "row|rows", "object|objects", "array|arrays of? objects|records?", "list",
	"table|tables", "content|contents", "input|output", "text", "string", "result|results", "read|reads|reading", "print|prints|printing", "parse|parses|parsing|parser", "write|writes|writing", "load",
	"field|fields", "column|columns", "cell", "value|values", "key|keys", "header row|line?", "first row|line", "each|every row|line|record|object", "back", "vice versa", "between", "quoted|quoting|quotes field|fields|value|values?", "escaped|escaping|escape|escapes", "embedded", "newline|newlines|comma|commas in|inside|within", "line break|breaks", "newline|newlines", "multiline|multi line", "utf 8", "utf8", "unicode", "bom", "byte order mark",
	"path", "argument|parameter", "specify|specified|specifies|specifying|choose|choosing|configurable|custom|optional|optionally|configure|set|pass|passed|default|defaults",
	"save|saves|saved to? file", "nested", "structure|structured", "valid", "in either direction", "both direction|directions|ways", "two way", "bidirectional", "round trip", "rfc 4180", "preserve|preserving|keep|keeping|retain key|column|columns|field|original? order", "order",
}

// streamWords ask for what a converter can do unless it must see all records.
var streamWords = []string{"stream|streams|streaming", "line by line", "large|big|huge file|files", "memory efficient", "without loading everything|all|it|the? whole? file? into? memory", "constant memory"}

func (c *CLISpec) explainConvert(w *wording, conv *ConvertSpec, features []featureKnowledge) {
	for _, f := range features {
		spans := w.explain(f.Phrases...)
		as := f.As
		switch f.Key {
		case "delimiter":
			conv.setDelimiter(w, spans)
		case "no-header":
			conv.NoHeader = conv.NoHeader || w.has("no|without header|headers row|line?", "headerless")
		case "types":
			conv.Types = true
		case "compact":
			conv.Compact = true
		case "pretty", "header", "output", "stdin":
		default:
			conv.Features[f.Key] = true
		}
		if !conv.offers(f.Key) {
			for _, s := range spans {
				for i := s.from; i < s.to; i++ {
					w.words[i].used = false
				}
			}
			continue
		}
		for _, s := range spans {
			c.cover(w.clauseOf(s), as)
		}
	}
	if f := conv.Features; f["sort"] || f["filter"] || f["aggregate"] || f["unique"] {
		w.explain("by a|the|one|given|specified|any|multiple|some? column|columns|field|fields|key|value name?")
	}
	if d := (cliData{ConvertSpec: conv}); !conv.Features["sort"] && !conv.Features["aggregate"] && !(d.Ragged() && d.TableOut()) {
		w.explain(streamWords...)
	}
	w.explain(convertVerbs...)
	// An option is something that exists: what it is about has to be explained.
	w.explain(convertWords...)
}

// offers reports whether a feature makes sense for the formats of the program.
func (s *ConvertSpec) offers(feature string) bool {
	switch feature {
	case "delimiter":
		return slices.Contains(s.From, "csv") || slices.Contains(s.To, "csv")
	case "no-header", "header":
		return s.readsTable() || s.writesTable()
	case "types":
		return s.infers()
	case "compact", "pretty":
		return slices.Contains(s.To, "json") || feature == "pretty"
	}
	return true
}

func (s *ConvertSpec) setDelimiter(w *wording, spans []wordSpan) {
	names := map[string]string{"semicolon": ";", "semicolons": ";", "tab": "tab", "tabs": "tab", "pipe": "|", "pipes": "|", "colon": ":", "|": "|"}
	for _, span := range spans {
		for _, t := range w.words[span.from:span.to] {
			if d, ok := names[t.lower]; ok {
				if slices.Contains(s.From, "csv") {
					s.Delimiter = d
				} else {
					s.OutComma = d
				}
			}
		}
	}
}

func (s *ConvertSpec) readsTable() bool {
	return slices.Contains(s.From, "csv") || slices.Contains(s.From, "tsv")
}

func (s *ConvertSpec) writesTable() bool {
	return slices.Contains(s.To, "csv") || slices.Contains(s.To, "tsv")
}

// infers reports whether text comes in and types go out.
func (s *ConvertSpec) infers() bool {
	return slices.ContainsFunc(s.From, func(f string) bool { return formatOf(f).Untyped }) &&
		slices.ContainsFunc(s.To, func(f string) bool { return f == "json" || f == "jsonl" || f == "yaml" })
}

func formatTitles(names []string) string {
	var titles []string
	for _, n := range names {
		titles = append(titles, formatOf(n).Title)
	}
	if n := len(titles); n > 1 {
		return strings.Join(titles[:n-1], ", ") + " or " + titles[n-1]
	}
	return strings.Join(titles, "")
}

// name is what a converter is called: csv2json.
func (s *ConvertSpec) name() string {
	short := func(f string) string { return strings.NewReplacer("markdown", "md", "text", "table").Replace(f) }
	switch {
	case len(s.From) == 1 && len(s.To) == 1 && s.From[0] == s.To[0]:
		return short(s.From[0]) + "tool"
	case len(s.From) == 1 && len(s.To) == 1:
		return short(s.From[0]) + "2" + short(s.To[0])
	case len(s.From) == 1:
		return short(s.From[0]) + "convert"
	case len(s.To) == 1:
		return "to" + short(s.To[0])
	}
	return "recordconvert"
}
