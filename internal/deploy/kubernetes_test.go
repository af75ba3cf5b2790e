package deploy

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/draysync/dray/internal/config"
	"github.com/draysync/dray/internal/fulltest"
)

// TestConfigs loads the configs that the examples come with.
func TestConfigs(t *testing.T) {
	for _, pattern := range []string{"kubernetes/*/dray.yaml", "compose/config/dray.yaml", "replicas/config/dray.yaml"} {
		files, err := filepath.Glob(filepath.Join(root, "examples", pattern))
		if err != nil || len(files) == 0 {
			t.Fatal(pattern, err)
		}
		for _, path := range files {
			_, err := config.Load(path, config.Options{ReadFile: func(name string) ([]byte, error) {
				if strings.HasPrefix(name, "/run/secrets/") {
					return secret(name)
				}
				return os.ReadFile(name)
			}})
			if err != nil {
				t.Error(err)
			}
		}
	}
}

// secret is what a file of secrets has.
func secret(name string) ([]byte, error) {
	if filepath.Base(name) == "ledger" {
		return []byte("postgres://dray:secret@postgres.example.com/dray\n"), nil
	}
	return []byte("0123456789abcdef\n"), nil
}

// document is what a test asks of a manifest of Kubernetes.
type document struct {
	Kind string `yaml:"kind"`
	Spec struct {
		Replicas int `yaml:"replicas"`
		Strategy struct {
			Type string `yaml:"type"`
		} `yaml:"strategy"`
		Template struct {
			Spec struct {
				SecurityContext struct {
					RunAsNonRoot   bool `yaml:"runAsNonRoot"`
					RunAsUser      int  `yaml:"runAsUser"`
					SeccompProfile struct {
						Type string `yaml:"type"`
					} `yaml:"seccompProfile"`
				} `yaml:"securityContext"`
				HostNetwork bool        `yaml:"hostNetwork"`
				HostPID     bool        `yaml:"hostPID"`
				Containers  []container `yaml:"containers"`
				Volumes     []map[string]any
			} `yaml:"spec"`
		} `yaml:"template"`
	} `yaml:"spec"`
}

type container struct {
	SecurityContext struct {
		AllowPrivilegeEscalation *bool `yaml:"allowPrivilegeEscalation"`
		ReadOnlyRootFilesystem   bool  `yaml:"readOnlyRootFilesystem"`
		Privileged               bool  `yaml:"privileged"`
		Capabilities             struct {
			Drop, Add []string
		} `yaml:"capabilities"`
	} `yaml:"securityContext"`
	VolumeMounts []struct {
		MountPath string `yaml:"mountPath"`
		SubPath   string `yaml:"subPath"`
	} `yaml:"volumeMounts"`
	LivenessProbe  map[string]any `yaml:"livenessProbe"`
	ReadinessProbe map[string]any `yaml:"readinessProbe"`
}

// TestPodSecurity holds the deployment to the restricted profile of Kubernetes' Pod Security Standards, and to what dray needs: one
// replica at a time, a folder for its config, probes.
func TestPodSecurity(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(root, "examples/kubernetes/base/deployment.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for decoder := yaml.NewDecoder(bytes.NewReader(raw)); ; {
		var d document
		if err := decoder.Decode(&d); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if d.Kind != "Deployment" {
			continue
		}
		found = true
		pod := d.Spec.Template.Spec
		if d.Spec.Replicas != 1 || d.Spec.Strategy.Type != "Recreate" || pod.HostNetwork || pod.HostPID || !pod.SecurityContext.RunAsNonRoot ||
			pod.SecurityContext.RunAsUser == 0 || pod.SecurityContext.SeccompProfile.Type != "RuntimeDefault" {
			t.Errorf("%+v", d.Spec)
		}
		for _, c := range pod.Containers {
			s := c.SecurityContext
			if s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || !s.ReadOnlyRootFilesystem || s.Privileged ||
				strings.Join(s.Capabilities.Drop, " ") != "ALL" || len(s.Capabilities.Add) > 0 || c.LivenessProbe == nil || c.ReadinessProbe == nil {
				t.Errorf("%+v", c)
			}
			for _, m := range c.VolumeMounts {
				if m.SubPath != "" {
					t.Errorf("%s is mounted as a part, which is never updated", m.MountPath)
				}
			}
		}
	}
	if !found {
		t.Error("there is no deployment")
	}
}

// kubecheck has Kubernetes' own types read manifests strictly, and its own policy judge the pods by the restricted Pod Security Standard. It
// returns what it found valid.
func kubecheck(t *testing.T, manifests string) string {
	t.Helper()
	c := exec.Command("go", "run", ".")
	c.Dir = filepath.Join(root, "packaging", "kubecheck")
	c.Stdin = strings.NewReader(manifests)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	return string(out)
}

// kubeconform checks manifests against the schemas of an old and of a new Kubernetes. It wants DRAY_KUBERNETES_SCHEMAS, a folder with
// one of schemas for each version; .ci/run makes it.
func kubeconform(t *testing.T, manifests string) {
	t.Helper()
	schemas := os.Getenv("DRAY_KUBERNETES_SCHEMAS")
	if schemas == "" {
		t.Log("without DRAY_KUBERNETES_SCHEMAS nothing is checked by kubeconform")
		return
	}
	program := fulltest.Program(t, "kubeconform", "it by go install github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0")
	for _, version := range []string{"1.27.0", "1.37.0"} {
		c := exec.Command(program, "-strict", "-summary", "-skip", "ServiceMonitor", "-kubernetes-version", version,
			"-schema-location", schemas+"/{{.NormalizedKubernetesVersion}}/{{.ResourceKind}}{{.KindSuffix}}.json", "-")
		c.Stdin = strings.NewReader(manifests)
		out, err := c.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "Invalid: 0, Errors: 0") || strings.Contains(string(out), "Valid: 0") {
			t.Errorf("Kubernetes %s: %v\n%s", version, err, out)
		}
	}
}

// TestKustomize builds what kubectl would apply, by the tool itself.
func TestKustomize(t *testing.T) {
	program := fulltest.Program(t, "kustomize", "it by go install sigs.k8s.io/kustomize/kustomize/v5@v5.8.0")
	for overlay, wants := range map[string][]string{
		"base":       {"kind: Deployment", "kind: ConfigMap", "kind: NetworkPolicy", "kind: PersistentVolumeClaim", "readOnlyRootFilesystem: true"},
		"azure":      {"azure.workload.identity/client-id", `azure.workload.identity/use: "true"`, "kind: workload-identity"},
		"monitoring": {"kind: ServiceMonitor", "honorLabels: true"},
		"replicas":   {"replicas: 3", "type: RollingUpdate", "emptyDir: {}", "port: 5432", "kind: PodDisruptionBudget", "ledger: ${file:/run/secrets/dray/ledger}"},
	} {
		t.Run(overlay, func(t *testing.T) {
			out := command(t, program, "build", filepath.Join(root, "examples/kubernetes", overlay))
			if overlay == "replicas" && strings.Contains(out, "persistentVolumeClaim") {
				t.Error("replicas share a volume")
			}
			for _, want := range wants {
				if !strings.Contains(out, want) {
					t.Errorf("it lacks %q", want)
				}
			}
			kubeconform(t, out)
			if got := kubecheck(t, out); !strings.Contains(got, "valid: Deployment dray\n") {
				t.Error(got)
			}
		})
	}
}

const chart = root + "/examples/helm/dray"

// TestHelm renders the chart with values for all that it can do, and has it refuse what its schema forbids.
func TestHelm(t *testing.T) {
	helm := fulltest.Program(t, "helm", "it by go install helm.sh/helm/v4/cmd/helm@v4.3.1")
	values := func(text string) string {
		path := filepath.Join(t.TempDir(), "values.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	small := "config: {mappings: [{source: 'docker.io/library/alpine:3.22', target: registry.example.com/mirror/alpine}]}\n"
	cluster := "config: {mappings: [{source: 'docker.io/library/alpine:3.22', target: registry.example.com/mirror/alpine}], cluster: {ledger: '${file:/run/secrets/dray/ledger}'}}\n"
	command(t, helm, "lint", "--strict", chart, "-f", values(small))
	for name, tt := range map[string]struct {
		values string
		want   []string // of kubecheck
		not    []string
	}{
		"small": {small, []string{"Deployment x-dray", "Secret x-dray", "PersistentVolumeClaim x-dray", "NetworkPolicy x-dray", "ServiceAccount x-dray", "Service x-dray"}, []string{"ServiceMonitor"}},
		"all": {small + `fullnameOverride: images
existingSecret: mine
persistence: {existingClaim: old}
serviceAccount: {annotations: {azure.workload.identity/client-id: 00000000-0000-0000-0000-000000000000}}
podLabels: {azure.workload.identity/use: "true"}
podAnnotations: {a: b}
imagePullSecrets: [{name: pull}]
image: {digest: "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}
env: [{name: HTTPS_PROXY, value: "http://proxy.example.com:3128"}]
serviceMonitor: {enabled: true, labels: {release: prometheus}}
nodeSelector: {kubernetes.io/arch: amd64}
tolerations: [{key: a, operator: Exists}]
affinity: {nodeAffinity: {}}
`, []string{"Deployment images", "ServiceMonitor images"}, []string{"Secret", "PersistentVolumeClaim"}},
		"replicas": {
			"replicas: 3\nexistingSecret: mine\n" + cluster,
			[]string{"Deployment x-dray", "PodDisruptionBudget x-dray", "NetworkPolicy x-dray"}, []string{"PersistentVolumeClaim"},
		},
		"bare": {small + "persistence: {enabled: false}\nnetworkPolicy: {enabled: false}\nserviceAccount: {create: false}\n", []string{"Deployment x-dray"}, []string{"PersistentVolumeClaim", "NetworkPolicy", "ServiceAccount"}},
	} {
		t.Run(name, func(t *testing.T) {
			out := command(t, helm, "template", "x", chart, "-f", values(tt.values))
			kubeconform(t, out)
			got := kubecheck(t, out)
			for _, want := range tt.want {
				if !strings.Contains(got, "valid: "+want+"\n") {
					t.Errorf("no %s:\n%s", want, got)
				}
			}
			for _, not := range tt.not {
				if strings.Contains(got, "valid: "+not+" ") {
					t.Errorf("there is a %s:\n%s", not, got)
				}
			}
			loads(t, out)
		})
	}
	for name, wrong := range map[string]string{
		"no mapping":         "config: {mappings: []}\n",
		"no probes possible": small + "config: {server: {listen: '127.0.0.1:9999'}, mappings: [{source: a}]}\n",
		"a tag that is none": small + "image: {tag: 'a b'}\n",
		"an unknown key":     small + "replicaCount: 2\n",
		"no ledger":          small + "replicas: 2\n",
		"no replica":         cluster + "replicas: 0\n",
	} {
		if out, err := exec.Command(helm, "template", "x", chart, "-f", values(wrong)).CombinedOutput(); err == nil {
			t.Errorf("%s is accepted:\n%s", name, out)
		}
	}
}

// loads has dray load the config that a chart has rendered.
func loads(t *testing.T, manifests string) {
	t.Helper()
	for decoder := yaml.NewDecoder(strings.NewReader(manifests)); ; {
		var d struct {
			Kind string            `yaml:"kind"`
			Data map[string]string `yaml:"data"`
		}
		if err := decoder.Decode(&d); err != nil {
			t.Fatalf("there is no config: %v", err)
		}
		if d.Kind != "ConfigMap" {
			continue
		}
		if _, err := config.Parse("dray.yaml", []byte(d.Data["dray.yaml"]), config.Options{ReadFile: secret}); err != nil {
			t.Errorf("%v\n%s", err, d.Data["dray.yaml"])
		}
		return
	}
}
