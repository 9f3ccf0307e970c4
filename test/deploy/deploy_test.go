// Package deploy checks what is in deploy/ and cannot run in a test against its schema: Kubernetes' own types, and compose's
// own loader, Prometheus' own parser. It is a module of its own, so that lockproxy's has nothing of theirs.
package deploy

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

const folder = "../../deploy"

func read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// object decodes a manifest into its type. An unknown field, a field twice or a value of another type is an error.
func object(t *testing.T, file string, text []byte) any {
	t.Helper()
	var kind struct{ APIVersion, Kind string }
	if err := yaml.Unmarshal(text, &kind); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	into, known := map[string]any{
		"apps/v1 Deployment":            &appsv1.Deployment{},
		"v1 Service":                    &corev1.Service{},
		"v1 Secret":                     &corev1.Secret{},
		"v1 ConfigMap":                  &corev1.ConfigMap{},
		"policy/v1 PodDisruptionBudget": &policyv1.PodDisruptionBudget{},
		"kustomize.config.k8s.io/v1beta1 Kustomization": &kustomization{},
	}[kind.APIVersion+" "+kind.Kind]
	if !known {
		t.Fatalf("%s: no type for %+v", file, kind)
	}
	if err := yaml.UnmarshalStrict(text, into); err != nil {
		t.Errorf("%s: %v", file, err)
	}
	return into
}

// kustomization has what ours uses of the type of kustomize's.
type kustomization struct {
	APIVersion         string      `json:"apiVersion"`
	Kind               string      `json:"kind"`
	Resources          []string    `json:"resources"`
	ConfigMapGenerator []generator `json:"configMapGenerator"`
	SecretGenerator    []generator `json:"secretGenerator"`
}

type generator struct {
	Name  string   `json:"name"`
	Files []string `json:"files"`
}

func TestKubernetesManifests(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(folder, "kubernetes", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("got %v, %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, document := range bytes.Split(text, []byte("\n---\n")) {
			switch o := object(t, filepath.Base(file), document).(type) {
			case *kustomization:
				checkFilesExist(t, o)
			case *appsv1.Deployment:
				checkDeployment(t, o)
			}
		}
	}
}

func checkFilesExist(t *testing.T, k *kustomization) {
	files := k.Resources
	for _, g := range append(k.ConfigMapGenerator, k.SecretGenerator...) {
		files = append(files, g.Files...)
	}
	for _, file := range files {
		read(t, filepath.Join("kubernetes", file))
	}
}

func checkDeployment(t *testing.T, d *appsv1.Deployment) {
	pod := d.Spec.Template
	for name, value := range d.Spec.Selector.MatchLabels {
		if pod.Labels[name] != value {
			t.Errorf("%s selects %s=%s, which its pods are not", d.Name, name, value)
		}
	}
	volumes := map[string]bool{}
	for _, v := range pod.Spec.Volumes {
		volumes[v.Name] = true
	}
	found := false
	for _, c := range append(pod.Spec.InitContainers, pod.Spec.Containers...) {
		for _, m := range c.VolumeMounts {
			if !volumes[m.Name] {
				t.Errorf("%s: %s mounts %s, which is no volume", d.Name, c.Name, m.Name)
			}
		}
		if c.Name == "lockproxy" {
			found = true
			checkHardened(t, d.Name, c)
			checkProbes(t, d.Name, c)
		}
	}
	if !found {
		t.Errorf("%s: has no container lockproxy", d.Name)
	}
	if !*pod.Spec.SecurityContext.RunAsNonRoot || pod.Spec.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("%s: runs as nobody in particular, got %+v", d.Name, pod.Spec.SecurityContext)
	}
	if pod.Spec.TerminationGracePeriodSeconds == nil || *pod.Spec.TerminationGracePeriodSeconds < 40 {
		t.Errorf("%s: transactions have shutdown_timeout to end, and preStop comes first", d.Name)
	}
}

func checkHardened(t *testing.T, name string, c corev1.Container) {
	s := c.SecurityContext
	if s == nil || !*s.ReadOnlyRootFilesystem || *s.AllowPrivilegeEscalation || len(s.Capabilities.Drop) != 1 || s.Capabilities.Drop[0] != "ALL" {
		t.Errorf("%s: lockproxy needs no rights, got %+v", name, s)
	}
	if len(c.Args) == 0 || c.Args[0] != "serve" {
		t.Errorf("%s: got %v", name, c.Args)
	}
}

// checkProbes finds that the kubelet asks what lockproxy answers, where it answers: see docs/metrics.md.
func checkProbes(t *testing.T, name string, c corev1.Container) {
	t.Helper()
	for path, p := range map[string]*corev1.Probe{"/healthz": c.LivenessProbe, "/readyz": c.ReadinessProbe} {
		if p == nil || p.HTTPGet == nil || p.HTTPGet.Path != path {
			t.Errorf("%s: lockproxy is not asked for %s, but %+v", name, path, p)
		}
	}
	for _, p := range []*corev1.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
		named := func(port corev1.ContainerPort) bool {
			return port.Name == p.HTTPGet.Port.StrVal && port.ContainerPort == httpPort
		}
		if p == nil || p.HTTPGet == nil || !slices.ContainsFunc(c.Ports, named) {
			t.Errorf("%s: a probe leads nowhere: %+v", name, p)
		}
	}
	if len(c.Args) < 3 || c.Args[1] != "--config" || !slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool {
		return m.MountPath == filepath.Dir(c.Args[2])
	}) {
		t.Errorf("%s: lockproxy's configuration is not mounted: %v", name, c.Args)
	}
}

// httpPort is that of server.http_listen, in all configurations here.
const httpPort = 9187

func TestConfigurationsListenForProbes(t *testing.T) {
	for _, file := range []string{"lockproxy.toml", "sidecar.yaml"} {
		if !strings.Contains(string(read(t, filepath.Join("kubernetes", file))), fmt.Sprintf("http_listen = \":%d\"", httpPort)) {
			t.Errorf("%s: nobody answers the probes", file)
		}
	}
}

func TestComposeFile(t *testing.T) {
	path := filepath.Join(folder, "compose.yaml")
	project, err := loader.LoadWithContext(t.Context(), types.ConfigDetails{
		WorkingDir:  folder,
		ConfigFiles: []types.ConfigFile{{Filename: path, Content: read(t, "compose.yaml")}},
		Environment: types.Mapping{},
	}, loader.WithProfiles([]string{"*"}))
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range project.Services {
		if s.Build == nil {
			continue
		}
		if _, err := os.Stat(filepath.Join(s.Build.Context, s.Build.Dockerfile)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	s := project.Services["lockproxy"]
	if !s.ReadOnly || len(s.CapDrop) != 1 || s.CapDrop[0] != "ALL" {
		t.Errorf("lockproxy needs no rights, got %v, %v", s.ReadOnly, s.CapDrop)
	}
	app, direct := project.Services["app"], project.Services["direct"]
	if app.Build.Context != direct.Build.Context || len(app.Profiles) != 1 {
		t.Errorf("both are one program, and neither starts by itself, got %+v and %+v", app.Build, direct.Build)
	}
	if url := *app.Environment["DATABASE_URL"]; !strings.Contains(url, "@lockproxy:6432/") {
		t.Errorf("got %s", url)
	}
}
