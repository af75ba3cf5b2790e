package nodeconfig

import (
	"fmt"
	"strings"

	"github.com/draysync/dray/internal/image"
)

// kyverno writes a policy that puts the target's name into pods: https://kyverno.io/docs/policy-types/cluster-policy/mutate/#mutate-existing-resources.
// A later rule sees what an earlier one has written, so that no target may be a source.
func (w *writer) kyverno() []File {
	var b strings.Builder
	n := 0
	for _, r := range sorted(w.rules) {
		switch other := w.sourceAt(r.to); {
		case !r.ok:
			w.note(Note{r.mapping, fmt.Sprintf("cannot be said: %s has another tag at %s", r.from, r.to)})
			continue
		case other != nil:
			w.note(Note{r.mapping, fmt.Sprintf("cannot be said: the mapping %q imports from where it imports to, %s", other.mapping, r.to)})
			continue
		case w.first(r) != r:
			w.note(Note{r.mapping, fmt.Sprintf("does not say %s: a pod's image has one name, which is at %s", r.to, w.first(r).to)})
			continue
		}
		for _, kind := range []string{"initContainers", "containers", "ephemeralContainers"} {
			for _, pinned := range []bool{false, true} {
				if pinned && r.filtered {
					continue // a pod would wait for a digest that is not there
				}
				n++
				b.WriteString(foreach(r, kind, pinned, n))
			}
		}
	}
	if b.Len() == 0 {
		return nil
	}
	return []File{{"replace-images.yaml", head + `# A pod gets the target's name whether or not the mapping imports its tag: it has no other place then.
apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata:
  name: dray-replace-images
spec:
  background: false
  rules:
` + b.String()}}
}

// first returns the first rule of a source.
func (w *writer) first(r rule) rule {
	for _, o := range w.rules {
		if o.from == r.from {
			return o
		}
	}
	return r
}

func (w *writer) sourceAt(to image.Repository) *rule {
	for i, r := range w.rules {
		if _, below := rest(to.Path, r.from.Path); r.from.Registry == to.Registry && (r.from.Path == to.Path || r.below && below) {
			return &w.rules[i]
		}
	}
	return nil
}

// foreach is the rule of one kind of containers, for images with a digest, or without.
func foreach(r rule, kind string, pinned bool, n int) string {
	of := func(field string) string { return fmt.Sprintf(`images.%s."{{element.name}}".%s`, kind, field) }
	paths := []string{r.from.Path}
	official, isOfficial := strings.CutPrefix(r.from.Path, "library/")
	if r.from.Registry == image.DockerHub && isOfficial { // Kyverno adds no library/
		paths = append(paths, official)
	}
	name, operator := quoted(named(r.to)), "Equals"
	target := named(r.to)
	if r.below {
		for i := range paths {
			paths[i] += "/*"
		}
		target += "/{{ regex_replace_all_literal('^" + strings.ReplaceAll(r.from.Path, ".", "[.]") + "/', '{{ " + of("path") + " }}', '') }}"
	}
	if pinned {
		operator = "NotEquals"
		target += "@{{ " + of("digest") + " }}"
	} else {
		target += ":" + r.retag.Prefix + "{{ " + of("tag") + " }}" + r.retag.Suffix
	}
	var values []string
	for _, p := range paths {
		values = append(values, quoted(p))
	}
	return fmt.Sprintf(`    # %s
    - name: dray-%d
      match:
        any:
          - resources:
              kinds: [Pod]
              operations: [CREATE, UPDATE]
      mutate:
        foreach:
          - list: request.object.spec.%s[]
            preconditions:
              all:
                - key: %s
                  operator: Equals
                  value: %s
                - key: %s
                  operator: AnyIn
                  value: [%s]
                - key: %s
                  operator: %s
                  value: ""
            patchStrategicMerge:
              spec:
                %s:
                  - name: "{{ element.name }}"
                    image: %s
`, name, n, kind, quoted("{{ "+of("registry")+" }}"), quoted(r.from.Registry), quoted("{{ "+of("path")+" }}"), strings.Join(values, ", "),
		quoted("{{ "+of("digest")+" || '' }}"), operator, kind, quoted(target))
}
