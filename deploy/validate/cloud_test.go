package validate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/containerinstance/armcontainerinstance/v2"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"google.golang.org/api/cloudbuild/v1"
	"google.golang.org/api/run/v1"
	"sigs.k8s.io/yaml"
)

// decode refuses what the type does not have.
func decode(t *testing.T, file string, text []byte, into any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

func TestTaskDefinitions(t *testing.T) {
	known := variables(t)
	var names []string
	for _, file := range []string{"services.json", "agents.json"} {
		var task ecs.RegisterTaskDefinitionInput
		decode(t, file, read(t, "deploy", "aws", file), &task)
		checkEnums(t, file, reflect.ValueOf(task))
		if n := len(task.ContainerDefinitions); n > 10 {
			t.Errorf("%s has %d containers; ECS takes 10", file, n)
		}
		volumes := map[string]bool{}
		for _, v := range task.Volumes {
			volumes[*v.Name] = true
		}
		ports := map[int32]bool{}
		for _, c := range task.ContainerDefinitions {
			names = append(names, *c.Name)
			got := container{name: *c.Name, command: c.Command, health: c.HealthCheck.Command}
			for _, p := range c.PortMappings {
				got.ports = append(got.ports, int(*p.ContainerPort))
				if ports[*p.ContainerPort] {
					t.Errorf("%s: two containers have port %d", file, *p.ContainerPort)
				}
				ports[*p.ContainerPort] = true
			}
			for _, e := range c.Environment {
				got.variables = append(got.variables, *e.Name)
			}
			for _, s := range c.Secrets {
				got.variables = append(got.variables, *s.Name)
			}
			for _, m := range c.MountPoints {
				got.mounts = append(got.mounts, *m.ContainerPath)
				if !volumes[*m.SourceVolume] {
					t.Errorf("%s: %s mounts %s, which is no volume", file, *c.Name, *m.SourceVolume)
				}
			}
			got.check(t, known, false)
		}
	}
	everyService(t, names)
}

// checkEnums looks at every value of a type that lists its own.
func checkEnums(t *testing.T, where string, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			checkEnums(t, where, v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			checkEnums(t, where, v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				checkEnums(t, where+"."+v.Type().Field(i).Name, v.Field(i))
			}
		}
	case reflect.String:
		values := v.MethodByName("Values")
		if !values.IsValid() || v.Len() == 0 {
			return
		}
		list := values.Call(nil)[0]
		for i := range list.Len() {
			if list.Index(i).String() == v.String() {
				return
			}
		}
		t.Errorf("%s is %q; it can be %v", where, v.String(), list)
	}
}

func TestCloudBuild(t *testing.T) {
	text, err := yaml.YAMLToJSONStrict(read(t, "deploy", "gcp", "cloudbuild.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var b cloudbuild.Build
	decode(t, "cloudbuild.yaml", text, &b)
	builtin := []string{"PROJECT_ID"}
	for _, m := range regexp.MustCompile(`\$\{?([A-Z_]+)\}?`).FindAllStringSubmatch(string(text), -1) {
		if _, ok := b.Substitutions[m[1]]; !ok && !slices.Contains(builtin, m[1]) {
			t.Errorf("the build uses %s, which nothing sets", m[0])
		}
	}
	var script string
	for _, s := range b.Steps {
		if s.Name == "" || len(s.Args) == 0 {
			t.Errorf("step %s does nothing", s.Id)
		}
		script += strings.Join(s.Args, " ") + "\n"
	}
	// Each name in capitals of the service is one that the build replaces.
	for _, m := range regexp.MustCompile(`IMAGE|[A-Z]+_(?:NAME|ADDRESS)`).FindAllString(string(read(t, "deploy", "gcp", "service.yaml")), -1) {
		if !strings.Contains(script, "s|"+m+"|") {
			t.Errorf("the build leaves %s in service.yaml", m)
		}
	}
}

func TestCloudRun(t *testing.T) {
	text, err := yaml.YAMLToJSONStrict(read(t, "deploy", "gcp", "service.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var s run.Service
	decode(t, "service.yaml", text, &s)
	if s.Kind != "Service" || s.ApiVersion != "serving.knative.dev/v1" || len(s.Spec.Template.Spec.Containers) != 1 {
		t.Fatalf("%s of %s with %d containers", s.Kind, s.ApiVersion, len(s.Spec.Template.Spec.Containers))
	}
	c := s.Spec.Template.Spec.Containers[0]
	got := container{name: c.Name, command: c.Args}
	for _, p := range c.Ports {
		got.ports = append(got.ports, int(p.ContainerPort))
	}
	for _, e := range c.Env {
		got.variables = append(got.variables, e.Name)
	}
	for _, m := range c.VolumeMounts {
		got.mounts = append(got.mounts, m.MountPath)
		if !slices.ContainsFunc(s.Spec.Template.Spec.Volumes, func(v *run.Volume) bool { return v.Name == m.Name }) {
			t.Errorf("there is no volume %s", m.Name)
		}
	}
	got.check(t, variables(t), true)
	if c.StartupProbe.HttpGet.Path != "/readyz" || c.LivenessProbe.HttpGet.Path != "/healthz" {
		t.Error("the service is not probed where it answers")
	}
}

// arm is a deployment template.
type arm struct {
	Schema         string         `json:"$schema"`
	ContentVersion string         `json:"contentVersion"`
	Metadata       map[string]any `json:"metadata"`
	Parameters     map[string]struct {
		Type         string         `json:"type"`
		DefaultValue any            `json:"defaultValue"`
		MinLength    int            `json:"minLength"`
		Metadata     map[string]any `json:"metadata"`
	} `json:"parameters"`
	Resources []json.RawMessage `json:"resources"`
	Outputs   map[string]struct {
		Type  string `json:"type"`
		Value string `json:"value"`
	} `json:"outputs"`
}

func TestContainerGroup(t *testing.T) {
	text := read(t, "deploy", "azure", "container-group.json")
	var template arm
	decode(t, "container-group.json", text, &template)
	used := map[string]bool{}
	for _, m := range regexp.MustCompile(`parameters\('([^']*)'\)`).FindAllSubmatch(text, -1) {
		used[string(m[1])] = true
	}
	if declared := slices.Sorted(maps.Keys(template.Parameters)); !slices.Equal(declared, slices.Sorted(maps.Keys(used))) {
		t.Errorf("parameters %v are declared, and %v are used", declared, slices.Sorted(maps.Keys(used)))
	}
	for name, p := range template.Parameters {
		if secret := strings.HasSuffix(name, "Secret") || strings.HasSuffix(name, "Key"); secret != (p.Type == "securestring") {
			t.Errorf("parameter %s is a %s", name, p.Type)
		}
	}
	// What the SDK does not know would be lost on the way through its types.
	var resource map[string]any
	if err := json.Unmarshal(template.Resources[0], &resource); err != nil {
		t.Fatal(err)
	}
	delete(resource, "apiVersion")
	text, err := json.Marshal(resource)
	if err != nil {
		t.Fatal(err)
	}
	var group armcontainerinstance.ContainerGroup
	if err := group.UnmarshalJSON(text); err != nil {
		t.Fatal(err)
	}
	back, err := json.Marshal(group)
	if err != nil {
		t.Fatal(err)
	}
	var known map[string]any
	if err := json.Unmarshal(back, &known); err != nil {
		t.Fatal(err)
	}
	if lost := missing("", resource, known); len(lost) > 0 {
		t.Errorf("the SDK knows nothing of %v", lost)
	}
	p := group.Properties
	if !slices.Contains(armcontainerinstance.PossibleOperatingSystemTypesValues(), *p.OSType) || !slices.Contains(armcontainerinstance.PossibleContainerGroupRestartPolicyValues(), *p.RestartPolicy) ||
		!slices.Contains(armcontainerinstance.PossibleContainerGroupIPAddressTypeValues(), *p.IPAddress.Type) || !slices.Contains(armcontainerinstance.PossibleContainerGroupSKUValues(), *p.SKU) {
		t.Error("a value of the group is none of the possible ones")
	}
	c := p.Containers[0]
	got := container{name: *c.Name}
	for i, arg := range c.Properties.Command { // which replaces the entrypoint
		if i > 0 {
			got.command = append(got.command, *arg)
		}
	}
	if *c.Properties.Command[0] != "conclave" {
		t.Errorf("the container runs %s", *c.Properties.Command[0])
	}
	for _, port := range c.Properties.Ports {
		got.ports = append(got.ports, int(*port.Port))
	}
	for _, e := range c.Properties.EnvironmentVariables {
		got.variables = append(got.variables, *e.Name)
	}
	for _, m := range c.Properties.VolumeMounts {
		got.mounts = append(got.mounts, *m.MountPath)
	}
	got.check(t, variables(t), true)
}

// missing lists what is in a value and not, or otherwise, in another.
func missing(at string, want, got any) []string {
	switch want := want.(type) {
	case map[string]any:
		have, _ := got.(map[string]any)
		var lost []string
		for _, k := range slices.Sorted(maps.Keys(want)) {
			if v, ok := have[k]; ok {
				lost = append(lost, missing(at+"."+k, want[k], v)...)
			} else {
				lost = append(lost, at+"."+k)
			}
		}
		return lost
	case []any:
		have, _ := got.([]any)
		if len(have) != len(want) {
			return []string{at}
		}
		var lost []string
		for i := range want {
			lost = append(lost, missing(fmt.Sprintf("%s[%d]", at, i), want[i], have[i])...)
		}
		return lost
	}
	if !reflect.DeepEqual(want, got) {
		return []string{at}
	}
	return nil
}
