package plan

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/config"
	"github.com/draysync/dray/internal/image"
)

func compile(t *testing.T, mappings string) ([]Job, error) {
	t.Helper()
	cfg, err := config.Parse("dray.yaml", []byte("version: 1\nmappings:\n"+mappings), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return Compile(cfg)
}

func TestTwoWriters(t *testing.T) {
	cases := []struct{ name, mappings, want string }{
		{"different tags", "- {source: 'a.io/x:1', target: 'b.io/x'}\n- {name: y, source: 'a.io/x:2', target: 'b.io/x'}\n", ""},
		{"one image twice", "- {name: p, source: 'a.io/x:1', target: 'b.io/t'}\n- {name: q, source: 'a.io/y:1', target: 'b.io/t'}\n",
			`dray.yaml:4:3: mappings[1]: it writes b.io/t:1, as does the mapping "p" on line 3`},
		{"image and literal", "- {name: p, source: 'a.io/x:1', target: 'b.io/t'}\n- {name: q, source: 'a.io/y', target: 'b.io/t', tags: ['1', '2']}\n",
			`it writes b.io/t:1`},
		{"spelt differently", "- {name: p, source: 'a.io/x:1', target: 'docker.io/acme/t'}\n- {name: q, source: 'a.io/y:1', target: 'acme/t'}\n",
			`it writes docker.io/acme/t:1`},
		{"patterns are seen later", "- {name: p, source: 'a.io/x', target: 'b.io/t', tags: ['*']}\n- {name: q, source: 'a.io/y', target: 'b.io/t', tags: ['*']}\n", ""},
		{"retagged to another's", "- {name: p, source: 'a.io/x', target: 'c.io/x', tags: ['1'], retag: '{{.Tag}}-m'}\n- {name: q, source: 'b.io/x', target: 'c.io/x', tags: ['1-m']}\n",
			`it writes c.io/x:1-m, as does the mapping "p" on line 3`},
		{"an image retagged to another's", "- {name: p, source: 'a.io/x:1', target: 'c.io/x', retag: 'm-{{.Tag}}'}\n- {name: q, source: 'b.io/x', target: 'c.io/x', tags: ['m-1']}\n",
			`it writes c.io/x:m-1, as does the mapping "p" on line 3`},
		{"retagged apart", "- {name: p, source: 'a.io/x', target: 'c.io/x', tags: ['1'], retag: '{{.Tag}}-a'}\n- {name: q, source: 'b.io/x', target: 'c.io/x', tags: ['1'], retag: '{{.Tag}}-b'}\n", ""},
		{"templates", "- {name: p, source: 'a.io/x', target: 'c.io/{{.Registry}}/{{.Repository}}', tags: ['1']}\n- {name: q, source: 'b.io/x', target: 'c.io/a.io/{{.Repository}}', tags: ['1']}\n",
			`it writes c.io/a.io/x:1, as does the mapping "p" on line 3`},
		{"repositories left out", "- {name: p, source: 'a.io/x', repositories: ['k', 'l', '!k'], target: 'b.io/t', tags: ['1']}\n- {name: q, source: 'a.io/y:1', target: 'b.io/t/k'}\n", ""},
		{"repositories", "- {name: p, source: 'a.io/x', repositories: [k], target: 'b.io/t', tags: ['1']}\n- {name: q, source: 'a.io/y:1', target: 'b.io/t/k'}\n",
			`it writes b.io/t/k:1`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := compile(t, c.mappings)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error = %v, want %q", err, c.want)
			}
		})
	}
}

// TestTwoWritersOfTwoFiles names both files.
func TestTwoWritersOfTwoFiles(t *testing.T) {
	files := map[string]string{
		"/etc/dray.yaml": "version: 1\ninclude: [a.yaml]\nmappings:\n- {name: p, source: 'a.io/x:1', target: 'b.io/t'}\n",
		"/etc/a.yaml":    "version: 1\nmappings:\n- {name: q, source: 'a.io/y:1', target: 'b.io/u'}\n- {name: r, source: 'a.io/y:1', target: 'b.io/t'}\n",
	}
	cfg, err := config.Load("/etc/dray.yaml", config.Options{ReadFile: func(path string) ([]byte, error) { return []byte(files[path]), nil }})
	if err != nil {
		t.Fatal(err)
	}
	const want = `/etc/a.yaml:4:3: mappings[1]: it writes b.io/t:1, as does the mapping "p" on line 4 of /etc/dray.yaml; only one`
	if _, err := Compile(cfg); err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("error = %v, want %s", err, want)
	}
}

// TestChosenRepositories has which paths a list chooses, from the catalog and by themselves, for sources and targets alike.
func TestChosenRepositories(t *testing.T) {
	all := []string{"a", "ab", "team/a", "team/b", "team/x/a", "team/x/old", "team/x/y/z", "other/a"}
	for _, tt := range []struct{ list, want string }{
		{"a", "a"}, {"a nowhere", "a nowhere"}, {"*", "a ab"}, {"*/*", "team/a team/b other/a"}, {"**", strings.Join(all, " ")},
		{"team/**", "team/a team/b team/x/a team/x/old team/x/y/z"}, {"team/**/a", "team/a team/x/a"}, {"**/a", "a team/a team/x/a other/a"},
		{"**/x/**", "team/x/a team/x/old team/x/y/z"}, {"team/*/**", "team/x/a team/x/old team/x/y/z"}, {"** !team/**", "a ab other/a"}, {"!team/x/** team/**", "team/a team/b"},
		{"** !**/old !*", "team/a team/b team/x/a team/x/y/z other/a"}, {"a ab !a", "ab"}, {"[b-z]*/**", "team/a team/b team/x/a team/x/old team/x/y/z other/a"},
	} {
		job := Job{
			Source:       image.Reference{Repository: image.Repository{Registry: "a.io", Path: "acme"}},
			Targets:      []image.Reference{{Repository: image.Repository{Registry: "b.io", Path: "m"}}},
			Repositories: strings.Fields(tt.list),
		}
		var catalog []string
		for _, name := range all {
			catalog = append(catalog, "acme/"+name)
		}
		routes, _ := job.Routes(catalog)
		var got []string
		for _, r := range routes {
			name := strings.TrimPrefix(r.Source.Path, "acme/")
			got = append(got, name)
			if _, ok := job.RouteOf(r.Source); !ok || !job.Writes(r.Targets[0]) || slices.Contains(all, name) && job.NeedsCatalog() != job.CanRoute(r.Source.Path) && isGlob(tt.list) && !slices.Contains(job.Repositories, name) {
				t.Errorf("%s: %s is a route and is none", tt.list, name)
			}
		}
		for _, name := range all {
			source, target := image.Repository{Registry: "a.io", Path: "acme/" + name}, image.Repository{Registry: "b.io", Path: "m/" + name}
			if _, ok := job.RouteOf(source); ok != slices.Contains(got, name) || job.Writes(target) != ok || !ok && job.CanRoute(source.Path) {
				t.Errorf("%s: %s is no route and is one", tt.list, name)
			}
		}
		want := strings.Fields(tt.want)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", tt.list, got, want)
		}
	}
}

func TestRoutes(t *testing.T) {
	job := Job{
		Source:       image.Reference{Repository: image.Repository{Registry: "a.io", Path: "acme"}},
		Targets:      []image.Reference{{Repository: image.Repository{Registry: "b.io", Path: "m"}}, {Repository: image.Repository{Path: "/srv"}}},
		Repositories: []string{"builder", "lint-*", "l*", "none-*"},
	}
	catalog := []string{"acme/builder", "acme/lint-go", "acme/lint-go/deep", "acmes/lint-x", "other/lint-y", "acme"}
	routes, unmatched := job.Routes(catalog)
	var got []string
	for _, r := range routes {
		line := r.Source.String()
		for _, target := range r.Targets {
			line += " " + target.String()
		}
		got = append(got, line)
	}
	want := []string{
		"a.io/acme/builder b.io/m/builder ocidir:///srv/builder",
		"a.io/acme/lint-go b.io/m/lint-go ocidir:///srv/lint-go",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"none-*"}, unmatched); diff != "" {
		t.Error(diff)
	}
	kept := slices.DeleteFunc(slices.Clone(catalog), func(path string) bool { return !job.CanRoute(path) })
	if diff := cmp.Diff([]string{"acme/lint-go"}, kept); diff != "" {
		t.Error(diff)
	}
	if of, none := job.Routes(kept); !cmp.Equal(of, routes) || !cmp.Equal(none, unmatched) {
		t.Errorf("the routes are %v, %v by what is kept of the catalog", of, none)
	}
	written := slices.DeleteFunc([]string{"b.io/m/builder", "b.io/m/lint-go", "b.io/m/lint-go/deep", "b.io/m", "b.io/x/builder", "c.io/m/builder", "b.io/builder"}, func(name string) bool {
		host, path, _ := strings.Cut(name, "/")
		return !job.Writes(image.Repository{Registry: host, Path: path})
	})
	if diff := cmp.Diff([]string{"b.io/m/builder", "b.io/m/lint-go"}, written); diff != "" {
		t.Error(diff)
	}
	if !job.NeedsCatalog() {
		t.Error("a job with patterns needs no catalog")
	}
}

func TestReferrersWants(t *testing.T) {
	cases := []struct {
		r          Referrers
		kind       string
		want, none bool
	}{
		{Referrers{All: true}, "any", true, false},
		{Referrers{Types: []string{"a"}}, "a", true, false},
		{Referrers{Types: []string{"a"}}, "b", false, false},
		{Referrers{}, "a", false, true},
	}
	for _, c := range cases {
		if c.r.Wants(c.kind) != c.want || c.r.None() != c.none {
			t.Errorf("%+v: Wants(%s) = %v, None = %v", c.r, c.kind, c.r.Wants(c.kind), c.r.None())
		}
	}
}

func TestGroups(t *testing.T) {
	job := func(targets ...string) Job {
		var j Job
		for _, target := range targets {
			ref, err := image.Parse(target)
			if err != nil {
				t.Fatal(err)
			}
			j.Targets = append(j.Targets, ref)
		}
		return j
	}
	cases := []struct {
		name string
		jobs []Job
		want [][]int
	}{
		{"none", nil, [][]int{}},
		{"apart", []Job{job("a.io/x"), job("b.io/x"), job("a.io/xy")}, [][]int{{0}, {1}, {2}}},
		{"one repository", []Job{job("a.io/x"), job("b.io/x"), job("a.io/x:1")}, [][]int{{0, 2}, {1}}},
		{"a prefix", []Job{job("a.io/x/y/z"), job("a.io/x"), job("a.io/x-y"), job("a.io/x/q")}, [][]int{{0, 1, 3}, {2}}},
		{"linked by several targets", []Job{job("a.io/x"), job("b.io/x"), job("a.io/x", "b.io/x"), job("c.io/x")}, [][]int{{0, 1, 2}, {3}}},
		{"layouts", []Job{job("ocidir:///srv/a"), job("ocidir:///srv/b"), job("ocidir:///srv/a:1")}, [][]int{{0, 2}, {1}}},
		{"later ones of one territory", []Job{job("a.io/b"), job("a.io/a/1"), job("a.io/a"), job("a.io/a/2"), job("a.io/b")}, [][]int{{0, 4}, {1, 2, 3}}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, Groups(c.jobs)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
