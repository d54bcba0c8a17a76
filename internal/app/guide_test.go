package app

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"conclave/internal/modelrouter"
)

// The production guide's table names every variable that the program reads, once.
// The tests of deploy/validate take it at its word.
func TestGuideNamesEverySetting(t *testing.T) {
	text, err := os.ReadFile("../../docs/deployment/production-guide.md")
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\|").FindAllSubmatch(text, -1) {
		told = append(told, string(m[1]))
	}
	read := append(settings(), "PGPASSWORD") // the last is read by the driver of Postgres
	if _, err := modelrouter.UpstreamsFromEnv(func(name string) string {
		if !slices.Contains(read, name) {
			read = append(read, name)
		}
		return map[string]string{"OPENAI_API_KEY": "so that it reads on"}[name]
	}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(told)
	slices.Sort(read)
	if !slices.Equal(told, read) {
		for _, name := range read {
			if !slices.Contains(told, name) {
				t.Errorf("the guide does not explain %s", name)
			}
		}
		for i, name := range told {
			if !slices.Contains(read, name) || i > 0 && told[i-1] == name {
				t.Errorf("the guide explains %s, which nothing reads, or explains it twice", name)
			}
		}
	}
}
