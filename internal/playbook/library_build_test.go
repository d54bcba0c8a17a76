package playbook

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// emptyRepository is what intake measures in a repository without code.
func emptyRepository() Facts {
	return Facts{Name: "sample", GoVersion: "1.26", Languages: map[string]int{}, Empty: true}
}

// generate builds every step of a plan in order, and checks that each step
// writes only what it said, and that no two write the same file.
func generate(t *testing.T, dir string, spec Spec, facts Facts, steps []Step, build func(Spec, Facts, string) ([]File, error)) []string {
	t.Helper()
	owner := map[string]string{}
	var paths []string
	for _, step := range steps {
		files, err := build(spec, facts, step.Key)
		if err != nil {
			t.Fatalf("step %s: %v", step.Key, err)
		}
		if len(files) == 0 {
			t.Errorf("step %s makes no file", step.Key)
		}
		for _, f := range files {
			if !slices.Contains(step.Writes, f.Path) {
				t.Errorf("step %s writes %s, which is not in %v", step.Key, f.Path, step.Writes)
			}
			if other, taken := owner[f.Path]; taken {
				t.Errorf("steps %s and %s both write %s", other, step.Key, f.Path)
			}
			owner[f.Path] = step.Key
			path := filepath.Join(dir, f.Path)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, f.Content, 0o644); err != nil {
				t.Fatal(err)
			}
			paths = append(paths, f.Path)
		}
	}
	return paths
}

// goTool runs a program in the generated tree without the network.
func goTool(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOPROXY=off", "GOFLAGS=-mod=mod", "GOWORK=off")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// checkTree requires that a generated tree is formatted, vetted and tested.
func checkTree(t *testing.T, dir string) {
	t.Helper()
	if out := goTool(t, dir, "gofmt", "-l", "."); out != "" {
		t.Errorf("not gofmt'ed: %s", out)
	}
	goTool(t, dir, "go", "vet", "./...")
	goTool(t, dir, "go", "test", "-vet=off", "-bench=.", "-benchtime=1x", "./...")
	// Both programs are run where they are installed; the tree needs neither.
	for _, analyser := range [][]string{{"staticcheck", "-checks=all,-ST1000,-SA9003", "./..."}, {"gosec", "-quiet", "./..."}} {
		if _, err := exec.LookPath(analyser[0]); err == nil {
			if out := goTool(t, dir, analyser...); bytes.Contains([]byte(out), []byte(".go:")) {
				t.Errorf("%s: %s", analyser[0], out)
			}
		}
	}
}

func TestEveryTopicBuilds(t *testing.T) {
	skipIfShort(t)
	for _, topic := range libraryTopics() {
		for _, safe := range []bool{false, true} {
			if safe && topic.Safety != "option" {
				continue
			}
			name := topic.Key
			if safe {
				name += "-safe"
			}
			t.Run(name, func(t *testing.T) {
				dir := t.TempDir()
				spec := Spec{Archetype: Library, Library: &LibrarySpec{Name: topic.Package, Packages: []LibraryPackage{{Topic: topic.Key, Name: topic.Package, Safe: safe}}}}
				facts := emptyRepository()
				paths := generate(t, dir, spec, facts, planLibrary(spec, facts), buildLibrary)
				for _, want := range []string{"go.mod", "README.md", "example_test.go", ".gitignore", ".github/workflows/ci.yml"} {
					if !slices.Contains(paths, want) {
						t.Errorf("no %s among %v", want, paths)
					}
				}
				checkTree(t, dir)
			})
		}
	}
}

// skipIfShort leaves out what compiles and tests dozens of generated trees.
func skipIfShort(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("generates, compiles and tests every topic or capability: minutes, without -short")
	}
}
