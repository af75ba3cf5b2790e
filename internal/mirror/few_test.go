package mirror_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/tagfilter"
)

func few(n int) *int { return &n }

// union compiles sets: literals and patterns of one are separated by blanks.
func union(t *testing.T, specs ...tagfilter.Spec) tagfilter.Filter {
	t.Helper()
	var all []tagfilter.Filter
	for _, spec := range specs {
		f, err := tagfilter.Compile(spec)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, f)
	}
	return tagfilter.Union(all...)
}

// TestWhatHasToBeChosen: each row is what the source has, what the mapping asks for, how the tags end, and what the errors say.
func TestWhatHasToBeChosen(t *testing.T) {
	of := func(include string) tagfilter.Spec { return tagfilter.Spec{Include: strings.Fields(include)} }
	with := func(s tagfilter.Spec, n int) tagfilter.Spec { s.Min = few(n); return s }
	versions := func(r string, newest int) tagfilter.Spec { return tagfilter.Spec{Semver: r, Newest: newest} }
	rows := []struct {
		there string
		specs []tagfilter.Spec
		want  string
		says  string
	}{
		{"v1.0.0 v1.1.0", []tagfilter.Spec{of("1.*")}, "-:nothing-chosen", "no tag is chosen by [include 1.*]; the nearest there are v1.1.0, v1.0.0"},
		{"v1.0.0 v1.1.0", []tagfilter.Spec{of("v1.*")}, "v1.0.0:imported v1.1.0:imported", ""},
		{"v1.0.0 v1.1.0", []tagfilter.Spec{with(of("1.*"), 0)}, "", ""},
		{"v1.0.0 v1.1.0", []tagfilter.Spec{with(of("1.*"), 1)}, "-:nothing-chosen", "tags.min: 0"},
		{"v1 v2", []tagfilter.Spec{with(of("v*"), 2)}, "v1:imported v2:imported", ""},
		{"v1 v2", []tagfilter.Spec{with(of("v*"), 3)}, "-:nothing-chosen v1:imported v2:imported", "2 of at least 3 tags are chosen by [include v*; min 3]"},
		{"v1 v2", []tagfilter.Spec{with(of("w*"), 3)}, "-:nothing-chosen", "no tag is chosen of at least 3"},
		{"3.1 3.2 edge", []tagfilter.Spec{versions(">= 4", 0)}, "-:nothing-chosen", "the nearest there are 3.2, 3.1, edge"},
		{"3.1 3.2 edge", []tagfilter.Spec{versions(">= 3", 1)}, "3.2:imported", ""},
		{"edge nightly", []tagfilter.Spec{versions("", 2)}, "-:nothing-chosen", "newest 2]; the nearest there are edge, nightly"},
		{"1-alpine 2-alpine 3", []tagfilter.Spec{{Suffix: "-alpine3"}}, "-:nothing-chosen", "suffix -alpine3"},
		{"1-slim 2", []tagfilter.Spec{{Suffix: "-slim"}}, "1-slim:imported", ""},
		{"v1", []tagfilter.Spec{{Include: []string{"*"}, Exclude: []string{"v*"}}}, "-:nothing-chosen", "the nearest there are v1"},
		{"v1", []tagfilter.Spec{{Include: []string{"v1"}, Exclude: []string{"v*"}}}, "-:nothing-chosen", "exclude takes all that include names"},
		{"v1", []tagfilter.Spec{{Include: []string{"v1"}, Exclude: []string{"v*"}, Min: few(0)}}, "", ""},
		{"v1", []tagfilter.Spec{of("v1")}, "v1:imported", ""},
		{"1.0 latest 2.0", []tagfilter.Spec{of("v* latest")}, "-:nothing-chosen latest:imported", "the nearest there are 2.0, 1.0"},
		{"v1", []tagfilter.Spec{of("v2")}, "v2:absent", "HEAD manifest"},
		{"v1", []tagfilter.Spec{of("v1 v2")}, "v1:imported v2:absent", "x:v2"},
		{"v1", []tagfilter.Spec{of("v* latest")}, "latest:absent v1:imported", "x:latest"},
		{"v1 latest", []tagfilter.Spec{of("v* latest")}, "latest:imported v1:imported", ""},
		{"v1", []tagfilter.Spec{with(of("v* latest"), 0)}, "latest:absent v1:imported", "x:latest"},
		{"latest", []tagfilter.Spec{of("v* latest")}, "-:nothing-chosen latest:imported", "no tag is chosen by [include v*, latest]"},
		{"latest", []tagfilter.Spec{with(of("v* latest"), 0)}, "latest:imported", ""},
		{"other", []tagfilter.Spec{of("v* latest")}, "-:nothing-chosen latest:absent", ""},
		{"v1 v2 latest", []tagfilter.Spec{with(of("v* latest"), 3)}, "latest:imported v1:imported v2:imported", ""},
		{"v1 latest", []tagfilter.Spec{with(of("v* latest"), 3)}, "-:nothing-chosen latest:imported v1:imported", "2 of at least 3"},
		{"3.20 3.21 3.19.1 latest", []tagfilter.Spec{of("latest"), versions(">= 3.20", 2), versions("~3.19", 1)},
			"3.19.1:imported 3.20:imported 3.21:imported latest:imported", ""},
		{"3.20 3.21 latest", []tagfilter.Spec{of("latest"), versions(">= 3.20", 2), versions("~3.19", 1)},
			"-:nothing-chosen 3.20:imported 3.21:imported latest:imported", "semver ~3.19"},
		{"3.20 3.21 latest", []tagfilter.Spec{of("latest"), versions(">= 3.20", 2), with(versions("~3.19", 1), 0)},
			"3.20:imported 3.21:imported latest:imported", ""},
		{"3.20", []tagfilter.Spec{of("latest"), versions(">= 3.20", 2)}, "3.20:imported latest:absent", "x:latest"},
		{"a", []tagfilter.Spec{of("b*"), of("c*")}, "-:nothing-chosen", "by [include b*], and no tag is chosen by [include c*]"},
		{"", []tagfilter.Spec{of("*")}, "-:nothing-chosen", "the source has no tags"},
		{"", []tagfilter.Spec{with(of("*"), 0)}, "", ""},
		{"", []tagfilter.Spec{of("v1")}, "v1:absent", ""},
		{"", []tagfilter.Spec{of("* v1")}, "-:nothing-chosen v1:absent", ""},
		{"20240101 20240301 latest", []tagfilter.Spec{{Include: []string{"2024*"}, Sort: "date", Newest: 1}}, "20240301:imported", ""},
		{"20240101 latest", []tagfilter.Spec{{Include: []string{"2025*"}, Sort: "date", Newest: 1}}, "-:nothing-chosen", "the nearest there are 20240101"},
	}
	for n, row := range rows {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *stand) {
				s.a.PutBlob("x", []byte("the repository is there")) // though it may have no tags
				for _, tag := range strings.Fields(row.there) {
					if err := emulator.SingleArch(int64(len(tag)), "linux/amd64", emulator.ImageOptions{LayerSize: 16}).Push(s.a, "x", tag); err != nil {
						t.Fatal(err)
					}
				}
				j := plan.Job{Name: "x", Source: at(hostA, "x"), Tags: union(t, row.specs...), Targets: []image.Reference{at(hostB, "x")}, Timeout: time.Minute}
				results := s.mirror.Sync(t.Context(), []plan.Job{j})
				settled(t, []plan.Job{j}, results)
				var got, says []string
				for _, out := range results[0].Outcomes {
					tag := out.Target.Tag
					if tag == "" {
						tag = "-"
					}
					got = append(got, tag+":"+string(out.Status))
					if out.Status.Failure() {
						says = append(says, out.Err.Error())
						if sideOf(out.Err) != mirror.Source {
							t.Errorf("the side of %v", out.Err)
						}
					}
				}
				if results[0].Err != nil {
					t.Errorf("the job failed: %v", results[0].Err)
				}
				if d := cmp.Diff(row.want, strings.Join(got, " ")); d != "" {
					t.Errorf("-want +got\n%s", d)
				}
				if text := strings.Join(says, "\n"); !strings.Contains(text, row.says) || (row.says == "") != (text == "") && !strings.Contains(row.want, ":absent") {
					t.Errorf("it says %q, want %q", text, row.says)
				}
			})
		})
	}
}

// TestPlatformsThoseThereAre: an index and an image of one platform obey the same rule.
func TestPlatformsThoseThereAre(t *testing.T) {
	rows := []struct {
		there  string // of an index; with a leading "=" the one platform of an image
		wanted string
		want   string // what arrives, or "refused", or both
	}{
		{"linux/amd64", "linux/amd64 linux/arm64", "linux/amd64 refused"},
		{"linux/amd64 linux/s390x", "linux/amd64 linux/arm64", "linux/amd64 refused"},
		{"linux/amd64", "linux/amd64 linux/arm64?", "linux/amd64"},
		{"linux/amd64 linux/arm64", "linux/amd64 linux/arm64?", "linux/amd64 linux/arm64"},
		{"linux/amd64 linux/s390x", "linux/amd64? linux/arm64?", "linux/amd64"},
		{"linux/s390x", "linux/amd64? linux/arm64?", "refused"},
		{"linux/arm64", "linux/amd64 linux/arm64?", "linux/arm64 refused"},
		{"linux/s390x", "linux/amd64 linux/arm64", "refused"},
		{"linux/arm64 linux/amd64", "linux/arm64", "linux/arm64"},
		{"linux/arm/v6 linux/arm/v7", "linux/arm/v7? linux/amd64?", "linux/arm/v7"},
		{"=linux/amd64", "linux/arm64", "refused"},
		{"=linux/amd64", "linux/arm64?", "refused"},
		{"=linux/amd64", "linux/amd64", "linux/amd64"},
		{"=linux/amd64", "linux/amd64 linux/arm64", "linux/amd64 refused"},
		{"=linux/amd64", "linux/amd64 linux/arm64?", "linux/amd64"},
		{"=linux/arm64", "linux/amd64? linux/arm64?", "linux/arm64"},
		{"=linux/arm/v7", "linux/arm", "linux/arm/v7"},
		{"=linux/arm/v7", "linux/arm/v6", "refused"},
		{"=windows/amd64", "linux/amd64", "refused"},
	}
	for _, row := range rows {
		t.Run(row.there+" for "+row.wanted, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *stand) {
				options := emulator.ImageOptions{LayerSize: 16}
				var pushed emulator.Image
				if one, single := strings.CutPrefix(row.there, "="); single {
					pushed = emulator.SingleArch(1, one, options)
				} else {
					options.Platforms = strings.Fields(row.there)
					pushed = emulator.MultiArch(1, options)
				}
				if err := pushed.Push(s.a, "x", "v1"); err != nil {
					t.Fatal(err)
				}
				j := job(t, "x", "x", []string{"v1"}, hostA, hostB)
				for _, name := range strings.Fields(row.wanted) {
					p, err := image.ParsePlatform(name)
					if err != nil {
						t.Fatal(err)
					}
					j.Platforms = append(j.Platforms, p)
				}
				if row.want == "refused" {
					want(t, s.sync(t, j), hostB+"/x:v1 platform-missing refused")
					whole(t, s.b, "x", "v1", "")
					return
				}
				arrives, short := strings.CutSuffix(row.want, " refused")
				lines := func(line string) []string {
					if short {
						return []string{line, hostB + "/x:v1 platform-missing refused"}
					}
					return []string{line}
				}
				want(t, s.sync(t, j), lines(hostB+"/x:v1 absent imported")...)
				if err := s.b.Whole("x", "v1"); err != nil {
					t.Error(err)
				}
				if same := s.b.Digest("x", "v1") == pushed.Digest; same != (strings.TrimPrefix(row.there, "=") == arrives) {
					t.Errorf("what arrived is the whole image: %v", same)
				}
				want(t, s.sync(t, j), lines(hostB+"/x:v1 unchanged kept")...)
			})
		})
	}
}

// A tag that the target has is not replaced by an image that lacks a wanted platform: who pulls that platform would lose it.
func TestShortImageReplacesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stand) {
		both := emulator.MultiArch(1, emulator.ImageOptions{LayerSize: 16, Platforms: []string{"linux/amd64", "linux/arm64"}})
		one := emulator.MultiArch(2, emulator.ImageOptions{LayerSize: 16, Platforms: []string{"linux/amd64"}})
		j := job(t, "x", "x", []string{"v1"}, hostA, hostB)
		j.Platforms = []image.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64"}}
		if err := both.Push(s.a, "x", "v1"); err != nil {
			t.Fatal(err)
		}
		want(t, s.sync(t, j), hostB+"/x:v1 absent imported")
		if err := one.Push(s.a, "x", "v1"); err != nil {
			t.Fatal(err)
		}
		want(t, s.sync(t, j), hostB+"/x:v1 platform-missing refused")
		whole(t, s.b, "x", "v1", both.Digest)
	})
}

// TestNothingThere: where a source has nothing to choose from, the outcome says so; never is that a success.
func TestNothingThere(t *testing.T) {
	named := `{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:` + strings.Repeat("a", 64) + `","size":2%s}]}`
	rows := map[string]struct {
		catalog      string // the repositories at the source
		repositories string // of the mapping, by name or pattern
		layout       string // the index.json of the layout that is the source
		tags         string
		none         bool // tags.min: 0
		want         string
		says         string
	}{
		"an empty catalog":                        {repositories: "*", tags: "*", want: "team nothing-chosen", says: `no repository below it matches ["*"]`},
		"an empty catalog, and that is right":     {repositories: "*", tags: "*", none: true},
		"an empty catalog, two patterns":          {repositories: "a-* b-*", tags: "v1", want: "team nothing-chosen", says: `matches ["a-*" "b-*"]`},
		"nothing below the prefix":                {catalog: "other/app", repositories: "*", tags: "*", want: "team nothing-chosen", says: "no repository below it"},
		"a pattern that matches nothing":          {catalog: "team/app", repositories: "b-* app", tags: "*", want: "team nothing-chosen, team/app:v1 imported", says: `matches ["b-*"]`},
		"a repository that is not there":          {catalog: "team/app", repositories: "app b", tags: "*", want: "team/app:v1 imported, team/b absent", says: "list tags"},
		"a repository that is not there, and tag": {catalog: "team/app", repositories: "app b", tags: "v1", want: "team/app:v1 imported, team/b:v1 absent", says: "team/b:v1"},
		"a layout of nothing":                     {layout: `{"schemaVersion":2,"manifests":[]}`, tags: "*", want: "team nothing-chosen", says: "the source has no tags"},
		"a layout of nothing, and that is right":  {layout: `{"schemaVersion":2,"manifests":[]}`, tags: "*", none: true},
		"a layout of nothing, a tag":              {layout: `{"schemaVersion":2,"manifests":[]}`, tags: "v1", want: "team:v1 absent", says: "tag v1"},
		"a layout without names":                  {layout: fmt.Sprintf(named, ""), tags: "*", want: "team nothing-chosen", says: "the source has no tags"},
		"a layout without names, a tag":           {layout: fmt.Sprintf(named, ""), tags: "latest", want: "team:latest absent", says: "tag latest"},
		"a layout of other names": {
			layout: fmt.Sprintf(named, `,"annotations":{"org.opencontainers.image.ref.name":"edge"}`), tags: "v*",
			want: "team nothing-chosen", says: "the nearest there are edge",
		},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *stand) {
				for _, path := range strings.Fields(row.catalog) {
					push(t, s.a, 1, path, "v1")
				}
				j := job(t, "team", "team", []string{"*"}, hostA, hostB)
				spec := tagfilter.Spec{Include: strings.Fields(row.tags)}
				if row.none {
					spec.Min = few(0)
				}
				j.Tags, j.Repositories = union(t, spec), strings.Fields(row.repositories)
				if row.layout != "" {
					j.Source = image.Reference{Repository: image.Repository{Path: layoutOf(t, row.layout)}}
				}
				results := s.mirror.Sync(t.Context(), []plan.Job{j})
				settled(t, []plan.Job{j}, results)
				if results[0].Err != nil {
					t.Fatalf("the job failed: %v", results[0].Err)
				}
				var got []string
				var says strings.Builder
				for _, out := range results[0].Outcomes {
					got = append(got, strings.TrimPrefix(out.Target.String(), hostB+"/")+" "+string(out.Status))
					if out.Err != nil {
						says.WriteString(out.Err.Error())
					}
				}
				if d := cmp.Diff(row.want, strings.Join(got, ", ")); d != "" {
					t.Errorf("-want +got\n%s", d)
				}
				if !strings.Contains(says.String(), row.says) || (row.says == "") != (says.Len() == 0) {
					t.Errorf("it says %q, want %q", says.String(), row.says)
				}
			})
		})
	}
}

// layoutOf writes a layout that has an index and nothing else.
func layoutOf(t *testing.T, index string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{"oci-layout": `{"imageLayoutVersion":"1.0.0"}`, "index.json": index} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
