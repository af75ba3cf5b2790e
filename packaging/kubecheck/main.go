// Command kubecheck reads manifests of Kubernetes from its standard input, as kustomize and helm write them, and refuses what Kubernetes'
// own types do not know and what the restricted Pod Security Standard forbids. It is a module of its own, so that dray does not depend on
// Kubernetes.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"
)

// typed returns an empty object of a kind.
func typed(meta metav1.TypeMeta) (any, error) {
	switch meta.APIVersion + " " + meta.Kind {
	case "apps/v1 Deployment":
		return &appsv1.Deployment{}, nil
	case "v1 ConfigMap":
		return &corev1.ConfigMap{}, nil
	case "v1 Secret":
		return &corev1.Secret{}, nil
	case "v1 Service":
		return &corev1.Service{}, nil
	case "v1 ServiceAccount":
		return &corev1.ServiceAccount{}, nil
	case "v1 Namespace":
		return &corev1.Namespace{}, nil
	case "v1 PersistentVolumeClaim":
		return &corev1.PersistentVolumeClaim{}, nil
	case "networking.k8s.io/v1 NetworkPolicy":
		return &networkingv1.NetworkPolicy{}, nil
	case "policy/v1 PodDisruptionBudget":
		return &policyv1.PodDisruptionBudget{}, nil
	case "monitoring.coreos.com/v1 ServiceMonitor":
		return &monitoring.ServiceMonitor{}, nil
	}
	return nil, fmt.Errorf("%s %s is not known here", meta.APIVersion, meta.Kind)
}

// check decodes one document strictly.
func check(document []byte, evaluator policy.Evaluator) (what string, err error) {
	var meta struct {
		metav1.TypeMeta   `json:",inline"`
		metav1.ObjectMeta `json:"metadata"`
	}
	if err := yaml.Unmarshal(document, &meta); err != nil {
		return "", err
	}
	what = meta.Kind + " " + meta.Name
	object, err := typed(meta.TypeMeta)
	if err != nil {
		return what, err
	}
	if err := yaml.UnmarshalStrict(document, object); err != nil {
		return what, err
	}
	if wrong := validation.IsDNS1123Subdomain(meta.Name); len(wrong) > 0 {
		return what, fmt.Errorf("its name: %v", wrong)
	}
	for name, value := range meta.Labels {
		if wrong := append(validation.IsQualifiedName(name), validation.IsValidLabelValue(value)...); len(wrong) > 0 {
			return what, fmt.Errorf("its label %s: %v", name, wrong)
		}
	}
	deployment, ok := object.(*appsv1.Deployment)
	if !ok {
		return what, nil
	}
	pod := deployment.Spec.Template
	restricted := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	for _, result := range evaluator.EvaluatePod(restricted, &pod.ObjectMeta, &pod.Spec) {
		if !result.Allowed {
			err = errors.Join(err, fmt.Errorf("restricted: %s: %s", result.ForbiddenReason, result.ForbiddenDetail))
		}
	}
	return what, err
}

func run(in io.Reader, out io.Writer) error {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		return err
	}
	var failed error
	documents := utilyaml.NewYAMLReader(bufio.NewReader(in))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return failed
		}
		if err != nil {
			return err
		}
		what, err := check(document, evaluator)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", what, err))
			continue
		}
		fmt.Fprintln(out, "valid:", what)
	}
}

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
