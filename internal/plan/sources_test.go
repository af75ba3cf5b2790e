package plan

import (
	"slices"
	"strings"
	"testing"

	"github.com/draysync/dray/internal/config"
	"github.com/draysync/dray/internal/image"
)

func TestSources(t *testing.T) {
	cfg, err := config.Parse("dray.yaml", []byte(`
version: 1
mappings:
- {name: one, source: "a.io/x:1", target: "t.io/x"}
- {name: pinned, source: "a.io/x@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", target: "t.io/pinned:1"}
- {name: pattern, source: a.io/x, target: t.io/pattern, tags: ["1*"]}
- {name: newest, source: a.io/x, target: t.io/newest, tags: {semver: ">= 2", newest: 1}}
- {name: below, source: a.io/team, target: t.io/team, repositories: ["app-*", tool], tags: ["*"]}
- {name: images, images: ["a.io/x:1", "c.io/y:1@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "c.io/z", "c.io/z:2"], target: t.io/m}
`), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	jobs, err := Compile(cfg)
	if err != nil {
		t.Fatal(err)
	}
	sources := SourcesOf(jobs)
	for _, c := range []struct {
		tag   string
		want  []string
		known bool
	}{
		{"a.io/x:1", []string{"one", "pattern", "images"}, true},
		{"c.io/y:1", nil, true},
		{"c.io/z:latest", []string{"images"}, true},
		{"c.io/z:2", []string{"images"}, true},
		{"c.io/z:3", nil, true},
		{"a.io/x:10", []string{"pattern", "newest"}, true},
		{"a.io/x:2.0", []string{"newest"}, true},
		{"a.io/x:y", nil, true},
		{"a.io/team/app-1:y", []string{"below"}, true},
		{"a.io/team/tool:y", []string{"below"}, true},
		{"a.io/team/other:y", nil, false},
		{"a.io/team/app-1/x:y", nil, false},
		{"b.io/x:1", nil, false},
	} {
		tag, err := image.Parse(c.tag)
		if err != nil {
			t.Fatal(err)
		}
		names, known := sources.Wanting(tag)
		if !slices.Equal(names, c.want) || known != c.known {
			t.Errorf("%s: %v, %v", c.tag, names, known)
		}
	}
	for name, want := range map[string]string{
		"a.io/x:1": "one pattern images", "a.io/x:1@sha256:" + strings.Repeat("a", 64): "one pattern images", "a.io/x:y": "",
		"a.io/x@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855": "pinned", "a.io/x@sha256:" + strings.Repeat("a", 64): "",
		"c.io/y:1@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855": "images", "a.io/team/tool:y": "below",
	} {
		if got := strings.Join(sources.Covering(reference(t, name)), " "); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	for _, c := range []struct {
		job    int
		target string
		want   bool
	}{
		{0, "t.io/x:1", true}, {0, "t.io/x:2", false}, {2, "t.io/pattern:11", true}, {2, "t.io/pattern:2", false}, {2, "t.io/x:1", false}, {4, "t.io/team/tool:z", true}, {4, "t.io/tool:z", false}, {5, "t.io/m/a.io/x:1", true},
		{5, "t.io/m/c.io/y:1", true}, {5, "t.io/m/c.io/y:2", false}, {5, "t.io/m/c.io/z:2", true}, {5, "t.io/m:1", false},
	} {
		target, err := image.Parse(c.target)
		if err != nil {
			t.Fatal(err)
		}
		if got := jobs[c.job].MayWrite(target); got != c.want {
			t.Errorf("%s may write %s: %v", jobs[c.job].Name, c.target, got)
		}
	}
	for _, c := range []struct{ job, tag, want, why string }{
		{"one", "1", "a.io/x:1", ""},
		{"one", "2", "", `the mapping "one" does not choose a.io/x:2`},
		{"pinned", "1", "", "does not choose"},
		{"pattern", "10", "a.io/x:10", ""},
		{"pattern", "a.io/x:11", "a.io/x:11", ""},
		{"pattern", "a.io/y:11", "", "does not choose a.io/y:11"},
		{"pattern", "", "", `"" is not a tag`},
		{"pattern", "1 1", "", `"1 1" is not a tag`},
		{"pattern", "a.io/x:", "", "reference"},
		{"images", "c.io/z:2", "c.io/z:2", ""},
		{"images", "2", "", `the mapping "images" has several repositories: write REGISTRY/REPOSITORY:TAG`},
		{"images", "c.io/y:1", "", "does not choose c.io/y:1"},
		{"below", "y", "", `the mapping "below" has several repositories: write a.io/team/REPOSITORY:TAG`},
		{"below", "a.io/team/app-1:y", "a.io/team/app-1:y", ""},
		{"below", "a.io/team/other:y", "", "does not choose"},
	} {
		ref, found, err := sources.Named(c.job, c.tag)
		if !found || c.why == "" && (err != nil || ref.String() != c.want) || c.why != "" && (err == nil || !strings.Contains(err.Error(), c.why)) {
			t.Errorf("%s %q: %v, %t, %v", c.job, c.tag, ref, found, err)
		}
	}
	if _, found, err := sources.Named("none", "1"); found || err != nil {
		t.Errorf("%t, %v", found, err)
	}
}
