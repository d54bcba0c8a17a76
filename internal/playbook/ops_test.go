package playbook

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// What a service is delivered with fits the program: the image starts it as a
// user without rights and asks it for its health in a way that it understands,
// and the workflow builds the same image.
func TestServiceIsReadyToDeploy(t *testing.T) {
	facts := Facts{Name: "teams", Empty: true}
	spec := Parse(services["teams"].task, facts)
	files := map[string]string{}
	for _, step := range Plan(spec, facts) {
		built, err := Build(spec, facts, nil, step.Key)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range built {
			files[f.Path] = string(f.Content)
		}
	}
	instructions := dockerfile(files["Dockerfile"])
	if last := instructions["USER"]; len(last) == 0 || slices.Contains([]string{"root", "0"}, last[len(last)-1]) {
		t.Errorf("the image runs as %q", last)
	}
	name := "/" + spec.Name
	if got, want := instructions["ENTRYPOINT"], `["`+name+`"]`; !slices.Contains(got, want) {
		t.Errorf("the image starts %q, want %s", got, want)
	}
	if got := instructions["HEALTHCHECK"]; len(got) != 1 || !strings.HasSuffix(got[0], `CMD ["`+name+`", "healthcheck"]`) {
		t.Errorf("the image's health check is %q", got)
	}
	for _, from := range instructions["FROM"] {
		if image, _, _ := strings.Cut(from, " "); !strings.Contains(image, ":") || strings.HasSuffix(image, ":latest") {
			t.Errorf("image %s has no tag", image)
		}
	}
	for _, set := range strings.Fields(instructions["ENV"][0]) {
		if variable, _, _ := strings.Cut(set, "="); !strings.Contains(files["cmd/teams/settings.go"], `"`+variable+`"`) {
			t.Errorf("the image sets %s, which the program does not read", variable)
		}
	}
	var workflow struct {
		Jobs map[string]struct {
			Steps []struct{ Uses, Run string }
		}
	}
	if err := yaml.Unmarshal([]byte(files[workflowFile]), &workflow); err != nil {
		t.Fatal(err)
	}
	var runs []string
	for _, job := range workflow.Jobs {
		for _, s := range job.Steps {
			runs = append(runs, s.Run)
		}
	}
	for _, want := range []string{"go vet ./...", "go test -race ./...", "docker build -t " + spec.Name + " ."} {
		if !slices.Contains(runs, want) {
			t.Errorf("the workflow runs %q, and not %q", runs, want)
		}
	}

	if testing.Short() {
		t.Skip("builds and runs generated programs")
	}
	dir := t.TempDir()
	for path, content := range files {
		write(t, dir, []File{{Path: path, Content: []byte(content)}})
	}
	binary := filepath.Join(t.TempDir(), "service")
	golang(t, dir, "build", "-ldflags=-s -w", "-o", binary, "./cmd/"+spec.Name)
	for _, test := range []struct {
		env, arg string
		want     string
	}{
		{"LOG_LEVEL=verbose", "", "must be debug, info, warn or error"},
		{"WRITE_TIMEOUT=30", "", "must be a duration above 0 such as 30s"},
		{"PORT=http", "", "must be a number from 1 to 65535"},
		{"ADDR=127.0.0.1:1", "healthcheck", "connection refused"},
		{"ADDR=127.0.0.1:0", "serve", `arguments [\"serve\"]`},
	} {
		cmd := exec.CommandContext(t.Context(), binary, strings.Fields(test.arg)...)
		cmd.Env = []string{test.env}
		cmd.Dir = t.TempDir()
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Run(); err == nil || !strings.Contains(stderr.String(), test.want) {
			t.Errorf("%s %s: %v, %s; want %s", test.env, test.arg, err, stderr.String(), test.want)
		}
	}
}

// dockerfile lists the arguments of each instruction.
func dockerfile(text string) map[string][]string {
	instructions := map[string][]string{}
	for line := range strings.Lines(text) {
		if name, rest, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			instructions[name] = append(instructions[name], rest)
		}
	}
	return instructions
}

// A repository that has its own image, CI or README keeps them.
func TestServiceLeavesWhatTheRepositoryHas(t *testing.T) {
	facts := Facts{ModulePath: "example.com/shop", Name: "shop", GoVersion: "1.26", Files: []string{"go.mod", "README.md", "Dockerfile", ".gitlab-ci.yml"}}
	spec := Parse(services["teams"].task, facts)
	var ops []string
	for _, step := range Plan(spec, facts) {
		if step.Key == "ops" {
			ops = step.Writes
		}
	}
	files, err := Build(spec, facts, nil, "ops")
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, f := range files {
		paths = append(paths, f.Path)
		if strings.HasSuffix(f.Path, "README.md") && !strings.Contains(string(f.Content), "docker build -t "+spec.Name+" -f cmd/"+spec.Name+"/Dockerfile .") {
			t.Errorf("the README does not name the image's file: %s", f.Content)
		}
	}
	slices.Sort(paths)
	slices.Sort(ops)
	want := []string{".dockerignore", ".gitignore", "cmd/" + spec.Name + "/Dockerfile", "cmd/" + spec.Name + "/README.md"}
	if !slices.Equal(paths, want) || !slices.Equal(ops, want) {
		t.Errorf("writes %q, plans %q, want %q", paths, ops, want)
	}
}
