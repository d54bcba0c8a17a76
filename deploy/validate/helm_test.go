package validate

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"conclave"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/releaseutil"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	psa "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"
)

// chart is what the chart makes, each object decoded strictly.
type chart struct {
	objects     []metav1.Object
	namespace   *corev1.Namespace
	deployments map[string]*appsv1.Deployment
	services    map[string]*corev1.Service
	scalers     map[string]*autoscalingv2.HorizontalPodAutoscaler
	configs     map[string]*corev1.ConfigMap
	secrets     map[string]*corev1.Secret
	claims      map[string]*corev1.PersistentVolumeClaim
	stateful    map[string]*appsv1.StatefulSet
	policies    map[string]*networkingv1.NetworkPolicy
	ingresses   map[string]*networkingv1.Ingress
}

// render does what helm install mcp-a2a ./helm/mcp-a2a-services does, before it
// calls the cluster.
func render(t *testing.T, values map[string]any) *chart {
	t.Helper()
	loaded, err := loader.Load(filepath.Join(root, "helm", "mcp-a2a-services"))
	if err != nil {
		t.Fatal(err)
	}
	release := chartutil.ReleaseOptions{Name: "mcp-a2a", Namespace: "default", Revision: 1, IsInstall: true}
	all, err := chartutil.ToRenderValues(loaded, values, release, nil)
	if err != nil {
		t.Fatal(err)
	}
	files, err := engine.Engine{Strict: true}.Render(loaded, all)
	if err != nil {
		t.Fatal(err)
	}
	c := &chart{deployments: map[string]*appsv1.Deployment{}, services: map[string]*corev1.Service{}, scalers: map[string]*autoscalingv2.HorizontalPodAutoscaler{},
		configs: map[string]*corev1.ConfigMap{}, secrets: map[string]*corev1.Secret{}, claims: map[string]*corev1.PersistentVolumeClaim{},
		stateful: map[string]*appsv1.StatefulSet{}, policies: map[string]*networkingv1.NetworkPolicy{}, ingresses: map[string]*networkingv1.Ingress{}}
	for file, text := range files {
		if strings.HasSuffix(file, ".txt") {
			continue
		}
		for _, document := range releaseutil.SplitManifests(text) {
			c.decode(t, file, document)
		}
	}
	return c
}

func (c *chart) decode(t *testing.T, file, document string) {
	t.Helper()
	var kind metav1.TypeMeta
	if err := yaml.Unmarshal([]byte(document), &kind); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	var o metav1.Object
	switch kind.Kind + " " + kind.APIVersion {
	case "Namespace v1":
		c.namespace = strictly(t, file, document, &corev1.Namespace{})
		return
	case "Deployment apps/v1":
		o = keep(c.deployments, strictly(t, file, document, &appsv1.Deployment{}))
	case "StatefulSet apps/v1":
		o = keep(c.stateful, strictly(t, file, document, &appsv1.StatefulSet{}))
	case "Service v1":
		o = keep(c.services, strictly(t, file, document, &corev1.Service{}))
	case "HorizontalPodAutoscaler autoscaling/v2":
		o = keep(c.scalers, strictly(t, file, document, &autoscalingv2.HorizontalPodAutoscaler{}))
	case "ConfigMap v1":
		o = keep(c.configs, strictly(t, file, document, &corev1.ConfigMap{}))
	case "Secret v1":
		o = keep(c.secrets, strictly(t, file, document, &corev1.Secret{}))
	case "PersistentVolumeClaim v1":
		o = keep(c.claims, strictly(t, file, document, &corev1.PersistentVolumeClaim{}))
	case "NetworkPolicy networking.k8s.io/v1":
		o = keep(c.policies, strictly(t, file, document, &networkingv1.NetworkPolicy{}))
	case "Ingress networking.k8s.io/v1":
		o = keep(c.ingresses, strictly(t, file, document, &networkingv1.Ingress{}))
	case "ServiceAccount v1":
		a := strictly(t, file, document, &corev1.ServiceAccount{})
		if a.AutomountServiceAccountToken == nil || *a.AutomountServiceAccountToken {
			t.Error("the service account gives its token to pods")
		}
		o = a
	default:
		t.Fatalf("%s: %s of %s is not expected", file, kind.Kind, kind.APIVersion)
	}
	c.objects = append(c.objects, o)
}

// strictly refuses a field that the type does not have, and one that is there twice.
func strictly[T any](t *testing.T, file, document string, into *T) *T {
	t.Helper()
	if err := yaml.UnmarshalStrict([]byte(document), into); err != nil {
		t.Fatalf("%s: %v\n%s", file, err, document)
	}
	return into
}

func keep[T metav1.Object](into map[string]T, o T) T {
	into[o.GetName()] = o
	return o
}

func TestChart(t *testing.T) {
	for name, tt := range map[string]struct {
		values string
		level  psa.Level
	}{
		"as it is":     {"{}", psa.LevelRestricted},
		"full sandbox": {"{sandbox: full}", psa.LevelPrivileged},
		"own database": {"{postgres: {url: 'postgres://me@db.example:5432/conclave'}, secrets: {existing: mine}, storage: {existingClaim: shared}}", psa.LevelRestricted},
		"published":    {"{ingress: {enabled: true, host: c.example, tlsSecret: cert, className: nginx}, service: {type: LoadBalancer}, networkPolicy: {from: [{namespaceSelector: {}}]}}", psa.LevelRestricted},
		"by TLS":       {"{tls: {secret: certificate}, ingress: {enabled: true, host: c.example}}", psa.LevelRestricted},
		"public TLS":   {"{tls: {secret: certificate, name: c.example, ca: ''}, service: {type: LoadBalancer}}", psa.LevelRestricted},
		"own files":    {"{files: {agent_pool.yml: 'agent_pool: {size: 3}'}, env: {CONCLAVE_BRAIN: offline}, autoscaling: {enabled: false}}", psa.LevelRestricted},
	} {
		t.Run(name, func(t *testing.T) {
			values := map[string]any{}
			if err := yaml.Unmarshal([]byte(tt.values), &values); err != nil {
				t.Fatal(err)
			}
			c := render(t, values)
			if c.namespace == nil || c.namespace.Name != "mcp-system" || c.namespace.Labels["pod-security.kubernetes.io/enforce"] != string(tt.level) {
				t.Errorf("namespace %+v, want mcp-system with level %s", c.namespace, tt.level)
			}
			for _, o := range c.objects {
				if o.GetNamespace() != "mcp-system" {
					t.Errorf("%T %s is in namespace %q", o, o.GetName(), o.GetNamespace())
				}
			}
			known := variables(t)
			var names []string
			for _, d := range c.deployments {
				names = append(names, strings.TrimPrefix(d.Name, "mcp-a2a-"))
				c.checkDeployment(t, known, d, tt.level)
				c.checkSpeech(t, d)
			}
			everyService(t, names)
			for _, s := range c.stateful {
				checkPod(t, s.Spec.Template, tt.level)
			}
			for _, p := range c.policies {
				if !c.selects(p.Spec.PodSelector) {
					t.Errorf("policy %s is for no pod", p.Name)
				}
			}
			for _, i := range c.ingresses {
				b := i.Spec.Rules[0].HTTP.Paths[0].Backend.Service
				if s, ok := c.services[b.Name]; !ok || !slices.ContainsFunc(s.Spec.Ports, func(p corev1.ServicePort) bool { return p.Name == b.Port.Name }) {
					t.Errorf("the ingress leads to %s %s, which is not there", b.Name, b.Port.Name)
				}
				if c.configs["mcp-a2a-environment"].Data["CONCLAVE_HOSTS"] != i.Spec.Rules[0].Host {
					t.Error("the ingress has a host that the gateway refuses")
				}
			}
		})
	}
}

func (c *chart) checkDeployment(t *testing.T, known []string, d *appsv1.Deployment, level psa.Level) {
	t.Helper()
	pod := d.Spec.Template
	main := pod.Spec.Containers[0]
	got := container{name: strings.TrimPrefix(d.Name, "mcp-a2a-"), command: main.Args}
	service := conclave.Service(got.name)
	for _, p := range main.Ports {
		got.ports = append(got.ports, int(p.ContainerPort))
	}
	for _, e := range main.Env {
		got.variables = append(got.variables, e.Name)
		if ref := e.ValueFrom; ref != nil && ref.SecretKeyRef != nil {
			if s, ok := c.secrets[ref.SecretKeyRef.Name]; ref.SecretKeyRef.Name != "mine" && (!ok || s.Data[ref.SecretKeyRef.Key] == nil && (ref.SecretKeyRef.Optional == nil || !*ref.SecretKeyRef.Optional)) {
				t.Errorf("%s: there is no secret %s/%s", d.Name, ref.SecretKeyRef.Name, ref.SecretKeyRef.Key)
			}
		}
	}
	for _, e := range main.EnvFrom {
		config, ok := c.configs[e.ConfigMapRef.Name]
		if !ok {
			t.Fatalf("%s: there is no config map %s", d.Name, e.ConfigMapRef.Name)
		}
		for name := range config.Data {
			got.variables = append(got.variables, name)
		}
	}
	volumes := map[string]corev1.Volume{}
	for _, v := range pod.Spec.Volumes {
		volumes[v.Name] = v
		if v.PersistentVolumeClaim != nil && v.PersistentVolumeClaim.ClaimName != "shared" && c.claims[v.PersistentVolumeClaim.ClaimName] == nil {
			t.Errorf("%s: there is no claim %s", d.Name, v.PersistentVolumeClaim.ClaimName)
		}
	}
	for _, m := range main.VolumeMounts {
		got.mounts = append(got.mounts, m.MountPath)
		if _, ok := volumes[m.Name]; !ok {
			t.Errorf("%s: there is no volume %s", d.Name, m.Name)
		}
	}
	got.check(t, known, false)
	checkPod(t, pod, level)
	for what, probe := range map[string]*corev1.Probe{"/readyz": main.ReadinessProbe, "/healthz": main.LivenessProbe} {
		if probe == nil || probe.HTTPGet.Path != what || probe.HTTPGet.Port.String() != main.Ports[0].Name {
			t.Errorf("%s is not probed at %s", d.Name, what)
		}
	}
	if s := c.services[d.Name]; s == nil || int(s.Spec.Ports[0].Port) != service.Port() || !c.selects(metav1.LabelSelector{MatchLabels: s.Spec.Selector}) {
		t.Errorf("service %s does not lead to its pods", d.Name)
	}
	scaler, scales := c.scalers[d.Name]
	if scales && (!slices.Contains(hosts(), service) || scaler.Spec.ScaleTargetRef.Name != d.Name || d.Spec.Replicas != nil || main.Resources.Requests.Cpu().IsZero()) {
		t.Errorf("%s can't be scaled by its autoscaler", d.Name)
	}
	if !scales && d.Spec.Replicas == nil {
		t.Errorf("%s says nothing of its replicas", d.Name)
	}
}

// checkSpeech asks that a deployment speaks TLS when its pods have a certificate,
// with a key that only they can read, and that whoever calls it knows.
func (c *chart) checkSpeech(t *testing.T, d *appsv1.Deployment) {
	t.Helper()
	pod, main := d.Spec.Template, d.Spec.Template.Spec.Containers[0]
	got := container{name: d.Name, secure: secured(c.configs["mcp-a2a-environment"].Data, func(v string) string { return v })}
	for _, m := range main.VolumeMounts {
		i := slices.IndexFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name })
		if s := pod.Spec.Volumes[i].Secret; s != nil {
			if *s.DefaultMode&0o077 != 0 || s.SecretName != "certificate" {
				t.Errorf("%s gets secret %s with mode %04o", d.Name, s.SecretName, *s.DefaultMode)
			}
			for _, key := range []string{"tls.crt", "tls.key", "ca.crt"} {
				got.files = append(got.files, m.MountPath+"/"+key)
			}
		}
	}
	on := len(got.files) > 0
	if _, own := got.secure["CONCLAVE_TLS_CA"]; on && !own {
		got.secure["CONCLAVE_TLS_CA"] = got.files[2] // the system's
	}
	got.checkTLS(t, on)
	scheme := map[bool]string{true: "https", false: "http"}[on]
	for _, p := range []*corev1.Probe{main.StartupProbe, main.ReadinessProbe, main.LivenessProbe} {
		if !strings.EqualFold(string(p.HTTPGet.Scheme), scheme) {
			t.Errorf("%s speaks %s and is probed by %s", d.Name, scheme, p.HTTPGet.Scheme)
		}
	}
	if said := pod.Annotations["prometheus.io/scheme"]; said != scheme {
		t.Errorf("%s speaks %s and is scraped by %s", d.Name, scheme, said)
	}
	for _, p := range c.services[d.Name].Spec.Ports {
		if *p.AppProtocol != scheme || p.Name == "web" && p.Port != map[bool]int32{true: 443, false: 80}[on] {
			t.Errorf("%s speaks %s; its service says port %d with %s", d.Name, scheme, p.Port, *p.AppProtocol)
		}
	}
}

// selects reports whether a selector finds pods of the chart, each a whole label set.
func (c *chart) selects(s metav1.LabelSelector) bool {
	selector := labels.SelectorFromSet(s.MatchLabels)
	for _, d := range c.deployments {
		if selector.Matches(labels.Set(d.Spec.Template.Labels)) {
			return true
		}
	}
	return false
}

// checkPod asks what the cluster asks of a pod at the namespace's level, and more.
func checkPod(t *testing.T, pod corev1.PodTemplateSpec, level psa.Level) {
	t.Helper()
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range evaluator.EvaluatePod(psa.LevelVersion{Level: level, Version: psa.LatestVersion()}, &pod.ObjectMeta, &pod.Spec) {
		if !r.Allowed {
			t.Errorf("%s: %s: %s", pod.Spec.Containers[0].Name, r.ForbiddenReason, r.ForbiddenDetail)
		}
	}
	for _, c := range pod.Spec.Containers {
		if s := c.SecurityContext; s == nil || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem || !*pod.Spec.SecurityContext.RunAsNonRoot {
			t.Errorf("%s may write to its image, or runs as root", c.Name)
		}
		if c.Resources.Limits.Memory().IsZero() || c.Resources.Requests.Memory().IsZero() {
			t.Errorf("%s has no bound of memory", c.Name)
		}
	}
	if pod.Spec.AutomountServiceAccountToken == nil || *pod.Spec.AutomountServiceAccountToken {
		t.Errorf("%s gets a token of the cluster", pod.Spec.Containers[0].Name)
	}
}

// What a value is set to is what runs.
func TestChartKeepsGivenSecrets(t *testing.T) {
	c := render(t, map[string]any{"secrets": map[string]any{"jwtSecret": "given", "anthropicApiKey": "key"}})
	s := c.secrets["mcp-a2a-secrets"]
	if string(s.Data["JWT_SECRET"]) != "given" || string(s.Data["ANTHROPIC_API_KEY"]) != "key" || len(s.Data["POSTGRES_PASSWORD"]) != 32 {
		t.Errorf("secret %q", s.Data)
	}
}
