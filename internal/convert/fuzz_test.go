package convert

import (
	"errors"
	"testing"

	"gopkg.in/yaml.v3"
)

// FuzzConvert holds that no input makes it panic, that its errors have their type, and that its output is YAML.
func FuzzConvert(f *testing.F) {
	for _, example := range examples() {
		for _, file := range read(f, example.files...) {
			f.Add(file.Data, "", example.options.Target)
		}
	}
	f.Add([]byte("sync: &a\n- <<: *a\n  source: '{{range .Sync}}x{{end}}'\n"), "regsync", "")
	f.Add([]byte("a: &a {<<: *a, images: {b: [*a]}}\n"), "skopeo", "x.io/y")
	f.Add([]byte(`{"images": {"a/b:/x/": ["c/d", ""]}}`), "image-syncer", "")
	f.Fuzz(func(t *testing.T, data []byte, from, target string) {
		result, err := Convert([]File{{"f.yml", data}}, Options{From: Tool(from), Target: target})
		if err != nil {
			if _, ok := errors.AsType[Errors](err); !ok {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		var document map[string]any
		if err := yaml.Unmarshal(result.YAML, &document); err != nil {
			t.Fatalf("%v\n%s", err, result.YAML)
		}
		if list, _ := document["mappings"].([]any); len(list) == 0 {
			t.Fatalf("no mappings\n%s", result.YAML)
		}
	})
}
