package convert

import (
	"strings"
	"testing"
)

// TestOverlaps holds that entries that write one tag become one mapping, or leave one of them as a comment.
func TestOverlaps(t *testing.T) {
	sync := "version: 1\nsync:\n"
	cases := []struct {
		name, data string
		options    Options
		want       string // the tags of the one mapping
	}{
		{"regsync: repository and image", sync + "- {source: a.io/x, target: m.io/x, type: repository}\n- {source: 'a.io/x:v1', target: 'm.io/x:v1', type: image}\n", Options{}, `tags: ["*"]`},
		{"regsync: images and repository", sync + "- {source: 'a.io/x:v2', target: 'm.io/x:v2', type: image}\n- {source: 'a.io/x:v1', target: 'm.io/x:v1', type: image}\n- {source: a.io/x, target: m.io/x, type: repository}\n", Options{}, `tags: ["*"]`},
		{"regsync: allow", sync + "- {source: a.io/x, target: m.io/x, type: repository, tags: {allow: [v1, v2]}}\n- {source: a.io/x, target: m.io/x, type: repository, tags: {allow: ['v.*']}}\n", Options{}, `"/v.*/"]`},
		{"regsync: alias", sync + "- {source: 'alpine:3', target: 'm.io/x:v1', type: image}\n- {source: 'docker.io/library/alpine:3', target: 'm.io:443/x:v1', type: image}\n", Options{}, "target: m.io/x:v1"},
		{"regsync: two sources", sync + "- {source: 'a.io/x:v1', target: 'm.io/x:v1', type: image}\n- {source: 'b.io/x:v1', target: 'm.io/x:v1', type: image}\n", Options{}, "source: a.io/x:v1"},
		{"image-syncer", "a.io/x:v1: [m.io/x:v1]\na.io/x:v1,v2: m.io/x\na.io/x: m.io/x\n", Options{From: ImageSyncer}, `tags: ["*"]`},
		{"dregsy", "relay: skopeo\ntasks:\n- name: t\n  interval: 60\n  source: {registry: a.io}\n  target: {registry: m.io}\n  mappings:\n  - {from: x, to: x, tags: [v1]}\n  - {from: x, to: x, tags: ['regex: v.*']}\n  - {from: x, to: x}\n", Options{}, `tags: ["*"]`},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			result, err := Convert([]File{{"f.yml", []byte(tc.data)}}, tc.options)
			if err != nil {
				t.Fatal(err)
			}
			out := string(result.YAML)
			if n := strings.Count(out, "\n  - name: "); n != 1 || !strings.Contains(out, tc.want) || len(result.Notes) == 0 {
				t.Errorf("there are %d mappings and the notes %v, want 1 with %s:\n%s", n, result.Notes, tc.want, out)
			}
		})
	}
}
