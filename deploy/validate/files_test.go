package validate

import (
	"bytes"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"conclave"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
	corev1 "k8s.io/api/core/v1"
)

// settings are the files of the folder config.
func settings(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(root, "config"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if len(names) < 4 {
		t.Fatalf("config has %v", names)
	}
	return names
}

// imageFolder is where the image holds the folder config, and where the program
// in it looks for that: deployments without files of their own run on these.
func imageFolder(t *testing.T) string {
	t.Helper()
	parsed, err := parser.Parse(bytes.NewReader(read(t, "Dockerfile")))
	if err != nil {
		t.Fatal(err)
	}
	stages, _, err := instructions.Parse(parsed.AST, nil)
	if err != nil {
		t.Fatal(err)
	}
	var copied, wanted string
	for _, c := range stages[len(stages)-1].Commands {
		switch c := c.(type) {
		case *instructions.CopyCommand:
			if slices.Equal(c.SourcePaths, []string{"config"}) {
				copied = c.DestPath
			}
		case *instructions.EnvCommand:
			for _, kv := range c.Env {
				if kv.Key == "CONCLAVE_CONFIG" {
					wanted = kv.Value
				}
			}
		}
	}
	if copied == "" || copied != wanted {
		t.Fatalf("the image has the folder config at %q, and the program looks at %q", copied, wanted)
	}
	return wanted
}

func TestImageHasSettings(t *testing.T) {
	imageFolder(t)
	patterns, err := ignorefile.ReadAll(bytes.NewReader(read(t, ".dockerignore")))
	if err != nil {
		t.Fatal(err)
	}
	ignored, err := patternmatcher.New(patterns)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range settings(t) {
		if left, err := ignored.MatchesOrParentMatches("config/" + name); err != nil || left {
			t.Errorf("the image lacks config/%s (%v)", name, err)
		}
	}
	for _, secret := range []string{".env", "tls/tls.key"} {
		if left, err := ignored.MatchesOrParentMatches(secret); err != nil || !left {
			t.Errorf("the build of the image is sent %s (%v)", secret, err)
		}
	}
}

// Compose gives each service every file of config, where the program reads it:
// one that is left out would be the image's, whatever the file here says.
func TestComposeMountsSettings(t *testing.T) {
	p, err := compose(t, secrets(), "docker-compose.yml", "docker-compose.prod.yml")
	if err != nil {
		t.Fatal(err)
	}
	folder := imageFolder(t)
	want := map[string]string{}
	for _, name := range settings(t) {
		want[path.Join(folder, name)] = filepath.Join("config", name)
	}
	for _, s := range conclave.AllServices() {
		got := map[string]string{}
		for _, c := range p.Services[string(s)].Configs {
			file, err := filepath.Rel(p.WorkingDir, p.Configs[c.Source].File)
			if err != nil {
				t.Fatal(err)
			}
			got[c.Target] = file
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s gets %v, want %v", s, got, want)
		}
	}
}

// The chart puts given files beside those of the image, and roles into their folder.
func TestChartMountsSettings(t *testing.T) {
	files := map[string]any{}
	for _, name := range settings(t) {
		files[name] = string(read(t, "config", name))
	}
	folder := imageFolder(t)
	c := render(t, map[string]any{"files": files, "roles": map[string]any{"tester.md": "---\nname: tester\n---\nTest."}})
	for _, d := range c.deployments {
		var got []string
		for _, m := range d.Spec.Template.Spec.Containers[0].VolumeMounts {
			i := slices.IndexFunc(d.Spec.Template.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name })
			config := d.Spec.Template.Spec.Volumes[i].ConfigMap
			if config == nil {
				continue
			}
			data := c.configs[config.Name].Data
			if m.SubPath == "" {
				for name := range data {
					got = append(got, path.Join(m.MountPath, name))
				}
			} else if data[m.SubPath] != "" {
				got = append(got, m.MountPath)
			}
		}
		want := []string{path.Join(folder, "agents", "tester.md")}
		for _, name := range settings(t) {
			want = append(want, path.Join(folder, name))
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s gets %v, want %v", d.Name, strings.Join(got, " "), strings.Join(want, " "))
		}
	}
}
