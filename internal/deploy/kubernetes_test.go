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
)

// TestConfigs loads the configs that the examples come with.
func TestConfigs(t *testing.T) {
	for _, pattern := range []string{"kubernetes/*/dray.yaml", "compose/config/dray.yaml"} {
		files, err := filepath.Glob(filepath.Join(root, "examples", pattern))
		if err != nil || len(files) == 0 {
			t.Fatal(pattern, err)
		}
		for _, path := range files {
			_, err := config.Load(path, config.Options{ReadFile: func(name string) ([]byte, error) {
				if strings.HasPrefix(name, "/run/secrets/") {
					return []byte("0123456789abcdef\n"), nil
				}
				return os.ReadFile(name)
			}})
			if err != nil {
				t.Error(err)
			}
		}
	}
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

// TestKustomize builds what kubectl would apply, by the tool itself.
func TestKustomize(t *testing.T) {
	program, err := exec.LookPath("kustomize")
	if err != nil {
		t.Skip("needs kustomize: go install sigs.k8s.io/kustomize/kustomize/v5@v5.8.0")
	}
	for overlay, wants := range map[string][]string{
		"base":  {"kind: Deployment", "kind: ConfigMap", "kind: NetworkPolicy", "kind: PersistentVolumeClaim", "readOnlyRootFilesystem: true"},
		"azure": {"azure.workload.identity/client-id", `azure.workload.identity/use: "true"`, "kind: workload-identity"},
	} {
		out, err := exec.Command(program, "build", filepath.Join(root, "examples/kubernetes", overlay)).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", overlay, err, out)
		}
		for _, want := range wants {
			if !strings.Contains(string(out), want) {
				t.Errorf("%s lacks %q", overlay, want)
			}
		}
	}
}
