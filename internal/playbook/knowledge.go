package playbook

import (
	"bytes"
	"embed"
	"fmt"
	"regexp"
	"strings"
	"sync"

	"gopkg.in/yaml.v3"
)

//go:embed knowledge/*.yml
var knowledgeFiles embed.FS

type fieldHint struct {
	Type  FieldType `yaml:"type"`
	Names []string  `yaml:"names"`
	Heads []string  `yaml:"heads"`
	Max   int       `yaml:"max"`
}

type nounHint struct {
	Noun   string   `yaml:"noun"`
	Fields string   `yaml:"fields"`
	Links  []string `yaml:"links"`
	Done   string   `yaml:"done"`
	Act    string   `yaml:"act"`
	Part   bool     `yaml:"part"` // has no sense without what it links to
}

type wordHints struct {
	Irregular map[string]string `yaml:"irregular"`
	Numbers   map[string]int    `yaml:"numbers"`
	Products  []string          `yaml:"products"`
	Qualities []string          `yaml:"qualities"`
	Given     []string          `yaml:"given"`
	Links     map[string]string `yaml:"links"`
	Roles     map[string]string `yaml:"roles"`
	Final     []string          `yaml:"final"`
	Beyond    []string          `yaml:"beyond"`
	Abilities []string          `yaml:"abilities"`
	NotFields []string          `yaml:"never_fields"`
}

type knowledgeBase struct {
	fields    []fieldHint
	nouns     map[string]nounHint
	words     wordHints
	plurals   map[string]string // irregular singular to plural
	products  map[string]bool
	qualities map[string]bool
	final     map[string]bool
	beyond    map[string]bool
	abilities map[string]bool
	notFields map[string]bool
	usual     map[string]bool // names of fields that resources usually have
	given     *regexp.Regexp
}

// known is the knowledge base; what is embedded is checked by the tests, so
// that a mistake in it is a defect of the program.
var known = sync.OnceValue(func() *knowledgeBase {
	k, err := loadKnowledge()
	if err != nil {
		panic(err)
	}
	return k
})

func loadKnowledge() (*knowledgeBase, error) {
	k := &knowledgeBase{nouns: map[string]nounHint{}, plurals: map[string]string{}}
	var nouns []nounHint
	var usual []string
	for name, into := range map[string]any{"fields": &k.fields, "entities": &nouns, "words": &k.words} {
		data, err := knowledgeFiles.ReadFile("knowledge/" + name + ".yml")
		if err != nil {
			return nil, fmt.Errorf("reading knowledge: %w", err)
		}
		dec := yaml.NewDecoder(bytes.NewReader(data))
		dec.KnownFields(true)
		if err := dec.Decode(into); err != nil {
			return nil, fmt.Errorf("decoding knowledge/%s.yml: %w", name, err)
		}
	}
	for _, n := range nouns {
		if _, twice := k.nouns[n.Noun]; twice {
			return nil, fmt.Errorf("knowledge/entities.yml has %q twice", n.Noun)
		}
		k.nouns[n.Noun] = n
		usual = append(usual, strings.FieldsFunc(n.Fields, func(r rune) bool { return r == ' ' || r == ',' })...)
	}
	k.usual = set(usual)
	for plural, singular := range k.words.Irregular {
		k.plurals[singular] = plural
	}
	given, err := regexp.Compile(`^(?:` + strings.Join(k.words.Given, "|") + `)$`)
	if err != nil {
		return nil, fmt.Errorf("compiling the given abilities: %w", err)
	}
	k.given = given
	k.products, k.qualities, k.final = set(k.words.Products), set(k.words.Qualities), set(k.words.Final)
	k.beyond, k.abilities, k.notFields = set(k.words.Beyond), set(k.words.Abilities), set(k.words.NotFields)
	return k, nil
}

func set(words []string) map[string]bool {
	m := make(map[string]bool, len(words))
	for _, w := range words {
		m[w] = true
	}
	return m
}
