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
	"github.com/itchyny/gojq"
	"google.golang.org/api/cloudbuild/v1"
	"google.golang.org/api/run/v1"
	"sigs.k8s.io/yaml"

	"conclave"
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
	for _, secure := range []bool{false, true} {
		t.Run(map[bool]string{false: "as they are", true: "by TLS"}[secure], func(t *testing.T) { checkTaskDefinitions(t, secure) })
	}
}

// byTLS is what deploy/aws/tls.jq makes of a task definition.
func byTLS(t *testing.T, text []byte) []byte {
	t.Helper()
	filter, err := gojq.Parse(string(read(t, "deploy", "aws", "tls.jq")))
	if err != nil {
		t.Fatal(err)
	}
	var in any
	if err := json.Unmarshal(text, &in); err != nil {
		t.Fatal(err)
	}
	out, ok := filter.Run(in).Next()
	if err, bad := out.(error); bad || !ok {
		t.Fatalf("tls.jq: %v", err)
	}
	if text, err = json.Marshal(out); err != nil {
		t.Fatal(err)
	}
	return text
}

func checkTaskDefinitions(t *testing.T, secure bool) {
	t.Helper()
	known := variables(t)
	var names []string
	for _, file := range []string{"services.json", "agents.json"} {
		var task ecs.RegisterTaskDefinitionInput
		text := read(t, "deploy", "aws", file)
		if secure {
			text = byTLS(t, text)
		}
		decode(t, file, text, &task)
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
			env := map[string]string{}
			for _, e := range c.Environment {
				got.variables = append(got.variables, *e.Name)
				env[*e.Name] = *e.Value
			}
			got.secure = secured(env, func(v string) string { return v })
			for _, s := range c.Secrets {
				got.variables = append(got.variables, *s.Name)
			}
			for _, m := range c.MountPoints {
				got.mounts = append(got.mounts, *m.ContainerPath)
				if !volumes[*m.SourceVolume] {
					t.Errorf("%s: %s mounts %s, which is no volume", file, *c.Name, *m.SourceVolume)
				}
				if *m.SourceVolume == "tls" {
					for _, name := range []string{"tls.crt", "tls.key", "ca.crt"} {
						got.files = append(got.files, *m.ContainerPath+"/"+name)
					}
				}
			}
			got.check(t, known, false)
			got.checkTLS(t, secure)
			for _, p := range c.PortMappings {
				if says := string(p.AppProtocol); says != map[bool]string{false: "http"}[secure] {
					t.Errorf("%s: port %d of %s is said to speak %q", file, *p.ContainerPort, *c.Name, says)
				}
			}
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
	// Cloud Run ends TLS before the container, and its name for HTTP/2 is h2c.
	if c.Ports[0].Name != "h2c" {
		t.Errorf("gRPC does not reach port %s", c.Ports[0].Name)
	}
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
	// The command replaces the entrypoint, and ends as the program.
	script := *c.Properties.Command[len(c.Properties.Command)-1]
	before, command, _ := strings.Cut(script, "exec conclave ")
	got.command = strings.Fields(command)
	if *c.Properties.Command[0] != "sh" || *c.Properties.Command[1] != "-c" || !strings.Contains(before, `install -m 400 /run/tls/tls.key "$CONCLAVE_TLS_KEY"`) {
		t.Errorf("the container runs %s", script)
	}
	for _, port := range c.Properties.Ports {
		got.ports = append(got.ports, int(*port.Port))
	}
	off, on := map[string]string{}, map[string]string{}
	for _, e := range c.Properties.EnvironmentVariables {
		got.variables = append(got.variables, *e.Name)
		if e.Value != nil {
			off[*e.Name], on[*e.Name] = chosen(*e.Value)
		}
	}
	given := []string{on["CONCLAVE_TLS_KEY"]} // the copy that only the program can read
	for _, m := range c.Properties.VolumeMounts {
		got.mounts = append(got.mounts, *m.MountPath)
		for _, v := range p.Volumes {
			if *v.Name == *m.Name {
				for name := range v.Secret {
					given = append(given, *m.MountPath+"/"+name)
				}
			}
		}
	}
	got.check(t, variables(t), true)
	plain := got
	plain.secure = secured(off, func(v string) string { return v })
	plain.checkTLS(t, false)
	got.secure, got.files = secured(on, func(v string) string { return v }), given
	if _, own := got.secure["CONCLAVE_TLS_CA"]; !own { // every system's
		got.secure["CONCLAVE_TLS_CA"] = given[0]
	}
	got.checkTLS(t, true)
	if !slices.Contains(given, "/run/tls/tls.key") {
		t.Errorf("there is no key to copy: %v", given)
	}
	for _, probe := range []*armcontainerinstance.ContainerProbe{c.Properties.ReadinessProbe, c.Properties.LivenessProbe} {
		if http, https := chosen(string(*probe.HTTPGet.Scheme)); http != "http" || https != "https" || int(*probe.HTTPGet.Port) != conclave.ServiceGateway.Port() {
			t.Errorf("%s is probed by %s at %d", *probe.HTTPGet.Path, *probe.HTTPGet.Scheme, *probe.HTTPGet.Port)
		}
	}
	if http, https := chosen(strings.TrimPrefix(template.Outputs["url"].Value, "[concat(")); http != "http://" || https != "https://" {
		t.Errorf("the address is told as %s", template.Outputs["url"].Value)
	}
}

// chosen returns what a value of the template is without a certificate, and with
// one; what is computed further stays as it is written.
func chosen(value string) (off, on string) {
	m := regexp.MustCompile(`^\[?if\(empty\(parameters\('tlsCertificate'\)\), '([^']*)', (.*)`).FindStringSubmatch(value)
	if m == nil {
		return value, value
	}
	on = m[2]
	if literal := regexp.MustCompile(`^'([^']*)'\)`).FindStringSubmatch(on); literal != nil {
		on = literal[1]
	}
	return m[1], on
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
