package validate

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"conclave"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

func TestDockerfile(t *testing.T) {
	parsed, err := parser.Parse(bytes.NewReader(read(t, "Dockerfile")))
	if err != nil {
		t.Fatal(err)
	}
	stages, _, err := instructions.Parse(parsed.AST, nil)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, s := range stages {
		for _, c := range s.Commands {
			if c, ok := c.(*instructions.CopyCommand); ok && c.From != "" && !names[c.From] {
				t.Errorf("%s copies from stage %q, which does not come before it", s.Name, c.From)
			}
		}
		names[s.Name] = true
	}
	known := variables(t)
	var ports []string
	var user, command, entry, health bool
	last := stages[len(stages)-1]
	for _, c := range last.Commands {
		switch c := c.(type) {
		case *instructions.EnvCommand:
			for _, kv := range c.Env {
				if strings.HasPrefix(kv.Key, "CONCLAVE_") && !slices.Contains(known, kv.Key) {
					t.Errorf("the image sets %s, which the program does not read", kv.Key)
				}
			}
		case *instructions.ExposeCommand:
			ports = append(ports, c.Ports...)
		case *instructions.UserCommand:
			user = c.User == "10001:10001"
		case *instructions.EntrypointCommand:
			entry = slices.Equal(c.CmdLine, []string{"conclave"})
		case *instructions.CmdCommand:
			command = slices.Equal(c.CmdLine, []string{"serve"})
		case *instructions.HealthCheckCommand:
			health = slices.Equal(c.Health.Test, []string{"CMD", "conclave", "status", "--here"})
		}
	}
	if !user || !command || !entry || !health {
		t.Errorf("user %v, entrypoint %v, command %v, health check %v: want all as documented", user, entry, command, health)
	}
	want := map[string]bool{}
	for _, s := range conclave.AllServices() {
		want[fmt.Sprint(s.Port())] = true
	}
	if !slices.Equal(ports, slices.Sorted(maps.Keys(want))) {
		t.Errorf("the image exposes %v, want %v", ports, slices.Sorted(maps.Keys(want)))
	}
	if goVersion := "golang:" + strings.Fields(string(read(t, "go.mod")))[3] + "-"; !strings.Contains(string(read(t, "Dockerfile")), goVersion) {
		t.Errorf("the image is not built with go.mod's Go: want %s…", goVersion)
	}
}
