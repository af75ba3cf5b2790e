package convert

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/config"
	"github.com/draysync/dray/internal/plan"
)

// listed are the tags that every repository has in TestOverlaps.
var listed = []string{"1.0.0", "1.1.0", "2.0.0", "edge", "latest", "v1", "v2"}

// written returns what the mappings of a config write, as "SOURCE TARGET…" for each tag, sorted. It fails for what "dray check" refuses, and for a tag
// with two writers.
func written(t *testing.T, yaml []byte) (all []string, jobs []plan.Job) {
	t.Helper()
	cfg, err := config.Parse("dray.yaml", yaml, config.Options{NoSecrets: true})
	if err != nil {
		t.Fatalf("%v\n%s", err, yaml)
	}
	jobs, err = plan.Compile(cfg)
	if err != nil {
		t.Fatalf("%v\n%s", err, yaml)
	}
	writer := map[string]string{}
	for _, j := range jobs {
		add := func(source, target string) {
			if other := writer[target]; other != "" {
				t.Errorf("%s and %s write %s", other, j.Name, target)
			}
			writer[target] = j.Name
			all = append(all, source+" "+target)
		}
		for _, target := range j.Targets {
			if j.Image() {
				add(j.Source.String(), target.String())
				continue
			}
			for _, tag := range j.Tags.Select(listed) {
				add(j.Source.Repository.Tag(tag).String(), target.Repository.Tag(tag).String())
			}
		}
	}
	slices.Sort(all)
	return all, jobs
}

// copied is what a source's tags are written as.
func copied(source, target string, tags ...string) (all []string) {
	for _, tag := range tags {
		all = append(all, source+":"+tag+" "+target+":"+tag)
	}
	return all
}

// TestOverlaps holds that what entries write twice has one writer in the config that they become, that all of it is written, and that a note says what was
// changed.
func TestOverlaps(t *testing.T) {
	steps := func(entries ...string) string { return "version: 1\nsync:\n- " + strings.Join(entries, "\n- ") + "\n" }
	const (
		all  = "{source: a.io/x, target: m.io/x, type: repository}"
		v1   = "{source: 'a.io/x:v1', target: 'm.io/x:v1', type: image}"
		vs   = "{source: a.io/x, target: m.io/x, type: repository, tags: {allow: ['v.*']}}"
		not  = "{source: a.io/x, target: m.io/x, type: repository, tags: {deny: ['v.*']}}"
		semv = "{source: a.io/x, target: m.io/x, type: repository, tags: {semverRange: ['>=1.1.0']}}"
		slow = ", interval: 24h}"
	)
	with := func(entry, more string) string { return strings.TrimSuffix(entry, "}") + more }
	dregsy := func(mappings ...string) string {
		return "relay: skopeo\ntasks:\n- name: t\n  interval: 60\n  source: {registry: a.io}\n  target: {registry: m.io}\n  mappings:\n  - " + strings.Join(mappings, "\n  - ") + "\n"
	}
	whole := copied("a.io/x", "m.io/x", listed...)
	cases := []struct {
		name, data string
		options    Options
		mappings   int
		want       []string
		note       string
	}{
		{"repository and image", steps(all, v1), Options{}, 1, whole, "were added"},
		{"images and repository", steps("{source: 'a.io/x:v2', target: 'm.io/x:v2', type: image}", v1, all), Options{}, 1, whole, "were added"},
		{"patterns", steps("{source: a.io/x, target: m.io/x, type: repository, tags: {allow: [v1, v2]}}", vs), Options{}, 1, copied("a.io/x", "m.io/x", "v1", "v2"), "were added"},
		{"exclude and image", steps(not, v1), Options{}, 1, copied("a.io/x", "m.io/x", "1.0.0", "1.1.0", "2.0.0", "edge", "latest", "v1"), "were added"},
		{"exclude and all", steps(not, all), Options{}, 1, whole, "were added"},
		{"semver and image", steps(semv, v1), Options{}, 1, copied("a.io/x", "m.io/x", "1.1.0", "2.0.0", "v1", "v2"), "were added"},
		{"semver and patterns", steps(vs, semv), Options{}, 1, copied("a.io/x", "m.io/x", "1.1.0", "2.0.0", "v1", "v2"), "were added"},
		{"an alias", steps("{source: 'alpine:3', target: 'm.io/x:v1', type: image}", "{source: 'docker.io/library/alpine:3', target: 'm.io:443/x:v1', type: image}"), Options{}, 1, []string{"docker.io/library/alpine:3 m.io/x:v1"}, "was left out"},
		{"the same image, other options", steps(v1, with(v1, slow)), Options{}, 1, copied("a.io/x", "m.io/x", "v1"), "with other options"},
		{"all, other options", steps(all, with(all, slow)), Options{}, 1, whole, "with other options"},
		{"an image beside all, other options", steps(all, with(v1, slow)), Options{}, 2, whole, "without v1"},
		{"all beside an image, other options", steps(v1, with(all, slow)), Options{}, 2, whole, "without v1"},
		{"an image beside patterns, other options", steps(vs, with(v1, slow)), Options{}, 2, copied("a.io/x", "m.io/x", "v1", "v2"), "without v1"},
		{"an image beside semver, other options", steps(semv, with(strings.ReplaceAll(v1, "v1", "v2"), slow)), Options{}, 2, copied("a.io/x", "m.io/x", "1.1.0", "2.0.0", "v2"), "without v2"},
		{"patterns beside all, other options", steps(all, with(vs, slow)), Options{}, 2, whole, "without the tags of the entry"},
		{"all beside patterns, other options", steps(vs, with(all, slow)), Options{}, 2, whole, "without the tags of the entry"},
		{"a tag in two lists, other options", steps("{source: a.io/x, target: m.io/x, type: repository, tags: {allow: [v1, edge]}}", with("{source: a.io/x, target: m.io/x, type: repository, tags: {allow: [v1, v2]}}", slow)), Options{}, 2, copied("a.io/x", "m.io/x", "edge", "v1", "v2"), "without v1"},
		{"the same list, other options", steps("{source: a.io/x, target: m.io/x, type: repository, tags: {allow: [v1]}}", with("{source: a.io/x, target: m.io/x, type: repository, tags: {allow: [v1]}}", slow)), Options{}, 1, copied("a.io/x", "m.io/x", "v1"), "with other options"},
		{"another name beside all", steps(all, "{source: 'a.io/x:v1', target: 'm.io/x:latest', type: image}"), Options{}, 2, slices.Concat(copied("a.io/x", "m.io/x", "1.0.0", "1.1.0", "2.0.0", "edge", "v1", "v2"), []string{"a.io/x:v1 m.io/x:latest"}), "without latest"},
		{"two sources of an image", steps(v1, "{source: 'b.io/x:v1', target: 'm.io/x:v1', type: image}"), Options{}, 1, copied("a.io/x", "m.io/x", "v1"), "from another source"},
		{"an image of another source", steps(all, "{source: 'b.io/x:v1', target: 'm.io/x:v1', type: image}"), Options{}, 2, slices.Concat(copied("a.io/x", "m.io/x", "1.0.0", "1.1.0", "2.0.0", "edge", "latest", "v2"), copied("b.io/x", "m.io/x", "v1")), "without v1"},
		{"lists of two sources", steps("{source: a.io/x, target: m.io/x, type: repository, tags: {allow: [v1, v2]}}", "{source: b.io/x, target: m.io/x, type: repository, tags: {allow: [v2, edge]}}"), Options{}, 2, slices.Concat(copied("a.io/x", "m.io/x", "v1", "v2"), copied("b.io/x", "m.io/x", "edge")), "without v2"},
		{"patterns of two sources", steps(vs, "{source: b.io/x, target: m.io/x, type: repository, tags: {allow: ['[0-9].*']}}"), Options{}, 2, slices.Concat(copied("a.io/x", "m.io/x", "v1", "v2"), copied("b.io/x", "m.io/x", "1.0.0", "1.1.0", "2.0.0")), "may choose some of the same tags"},
		{"image-syncer", "a.io/x:v1: [m.io/x:v1]\na.io/x:v1,v2: m.io/x\na.io/x: m.io/x\n", Options{From: ImageSyncer}, 1, whole, "were added"},
		{"image-syncer: several targets", "a.io/x:v1: [m.io/x, n.io/x]\na.io/x: [m.io/x, n.io/x]\n", Options{From: ImageSyncer}, 1, slices.Concat(whole, copied("a.io/x", "n.io/x", listed...)), ""},
		{"image-syncer: some targets", "a.io/x:v1: [m.io/x, n.io/x]\na.io/x: m.io/x\n", Options{From: ImageSyncer}, 2, slices.Concat(whole, copied("a.io/x", "n.io/x", "v1")), "one mapping for each"},
		{"image-syncer: some targets of two sources", "a.io/x: [m.io/x, n.io/x]\nb.io/x:v1: n.io/x\n", Options{From: ImageSyncer}, 3, slices.Concat(whole, copied("a.io/x", "n.io/x", "1.0.0", "1.1.0", "2.0.0", "edge", "latest", "v2"), copied("b.io/x", "n.io/x", "v1")), "without v1"},
		{"dregsy", dregsy("{from: x, to: x, tags: [v1]}", "{from: x, to: x, tags: ['regex: v.*']}", "{from: x, to: x}"), Options{}, 1, whole, "were added"},
		{"dregsy: newest", dregsy("{from: x, to: x, tags: ['semver: >=1.0.0', 'keep: latest 1']}", "{from: x, to: x, tags: [1.0.0]}"), Options{}, 1, copied("a.io/x", "m.io/x", "1.0.0", "2.0.0"), "were added"},
		{"dregsy: newest, other platform", dregsy("{from: x, to: x, tags: ['semver: >=1.0.0', 'keep: latest 1']}", "{from: x, to: x, tags: [1.0.0], platform: linux/arm64}"), Options{}, 2, copied("a.io/x", "m.io/x", "1.0.0", "2.0.0"), ""},
		{"skopeo", "a.io:\n  images: {x: [v1]}\n  images-by-tag-regex: {x: '^v.*$'}\n  images-by-semver: {x: '>= 1.1.0'}\n", Options{Target: "m.io"}, 1, copied("a.io/x", "m.io/x", "1.1.0", "2.0.0", "v1", "v2"), ""},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			result, err := Convert([]File{{"f.yml", []byte(tc.data)}}, tc.options)
			if err != nil {
				t.Fatal(err)
			}
			got, jobs := written(t, result.YAML)
			slices.Sort(tc.want)
			notes := ""
			for _, note := range result.Notes {
				notes += note.Text + "\n"
			}
			if diff := cmp.Diff(tc.want, got); diff != "" || len(jobs) != tc.mappings || !strings.Contains(notes, tc.note) {
				t.Errorf("%s%d mappings, want %d, and the notes, of which one has %q:\n%s%s", diff, len(jobs), tc.mappings, tc.note, notes, result.YAML)
			}
		})
	}
}
