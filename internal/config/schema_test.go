package config

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"
)

var update = flag.Bool("update", false, "rewrite golden files and the schema")

const (
	root       = "../.."
	schemaFile = root + "/schema/dray.schema.json"
)

func TestSchemaIsCurrent(t *testing.T) {
	want := generate(t)
	if *update {
		if err := os.WriteFile(schemaFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("the schema is not that of the types; run go generate ./internal/config (-want +got):\n%s", diff)
	}
	if !*update && !bytes.Equal(Schema(), got) {
		t.Error("Schema() is not the file that is checked in")
	}
}

// schemaOf compiles the schema that is generated now, by draft-07 and with each format and pattern checked.
func schemaOf(t testing.TB) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft7)
	if err := c.AddResource("dray.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("dray.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// schemaRefuses validates a file as editors do. What is no YAML is refused before the schema is asked.
func schemaRefuses(t testing.TB, s *jsonschema.Schema, data []byte) error {
	t.Helper()
	var doc any
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return err
	}
	return s.Validate(asJSON(doc))
}

// asJSON makes keys of texts, and texts of dates, as YAML's JSON schema has them.
func asJSON(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = asJSON(v[k])
		}
		return v
	case map[any]any:
		m := map[string]any{}
		for k := range v {
			m[fmt.Sprint(k)] = asJSON(v[k])
		}
		return m
	case []any:
		for i := range v {
			v[i] = asJSON(v[i])
		}
		return v
	case time.Time:
		return v.Format(time.DateOnly)
	}
	return v
}

// TestSchemaPatternsWorkEverywhere: editors run the patterns as ECMA-262, this program's tests run them as RE2.
func TestSchemaPatternsWorkEverywhere(t *testing.T) {
	for name, p := range patterns {
		if _, err := regexp.Compile(p); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, only := range []string{`\A`, `\z`, `\p`, `(?i`, `(?P`, `[[:`} {
			if strings.Contains(p, only) {
				t.Errorf("%s: %s is not in ECMA-262", name, only)
			}
		}
	}
}

func TestSchemaDescribesEveryKey(t *testing.T) {
	for name, doc := range comments(t) {
		if !strings.HasSuffix(name, "._") && strings.HasPrefix(name, strings.ToLower(name[:1])) && doc == "" {
			t.Errorf("%s has no comment, which is the key's description", name)
		}
	}
}

func TestExampleHasEveryKey(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(root, "config.example.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if first, _, _ := bytes.Cut(data, []byte("\n")); string(first) != "# yaml-language-server: $schema=./schema/dray.schema.json" {
		t.Errorf("the first line is %q", first)
	}
	for _, s := range sections() {
		for _, key := range keysOf(s.t) {
			if !regexp.MustCompile(`(?m)(^|[ {,#-])` + key + `:`).Match(data) {
				t.Errorf("%s is not in config.example.yaml", join(s.path, key))
			}
		}
	}
}
