package plan

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/draysync/dray/internal/config"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/schedule"
	"github.com/draysync/dray/internal/tagfilter"
)

func reference(t *testing.T, s string) image.Reference {
	t.Helper()
	ref, err := image.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func filter(t *testing.T, spec tagfilter.Spec) tagfilter.Filter {
	t.Helper()
	f, err := tagfilter.Compile(spec)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func scheduled(t *testing.T, spec, timezone string) schedule.Schedule {
	t.Helper()
	s, err := schedule.Parse(spec, timezone)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func windows(t *testing.T, from string) schedule.Windows {
	t.Helper()
	w, err := new(schedule.Parser).Windows([]schedule.Window{{From: from, To: "06:00"}}, "")
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func full(t *testing.T) Job {
	return Job{
		Name: "base", Source: reference(t, "ghcr.io/acme/base"), Targets: []image.Reference{reference(t, "b.io/x"), reference(t, "c.io/x")},
		Images:       []Image{{reference(t, "a.io/x:1"), []image.Reference{reference(t, "b.io/x:1"), reference(t, "c.io/x:1")}}},
		Repositories: []string{"a", "b-*"}, Tags: filter(t, tagfilter.Spec{Include: []string{"1.*"}, Newest: 5}),
		Retag: Retag{Suffix: "-m"}, Platforms: []image.Platform{{OS: "linux", Architecture: "amd64"}}, RefuseMoved: true, Immutable: filter(t, tagfilter.Spec{Include: []string{"v*"}}), Referrers: Referrers{Types: []string{"a/b"}},
		ReferrersInterval: time.Hour, ForeignLayers: true, Engine: "acr", ResolveServer: true, Timeout: time.Minute, Retries: 3, Schedule: scheduled(t, "17 */6 * * *", "Europe/Berlin"),
		Jitter: time.Minute, Windows: windows(t, "22:00"), CutAtEnd: true, Priority: 5, Policies: []*Policy{{Name: "acme", Images: []string{"ghcr.io/acme/**"}, identity: "1"}},
	}
}

// TestFingerprintHasEveryField: a field that nothing here changes fails, so that none can be added and left out of the fingerprint.
func TestFingerprintHasEveryField(t *testing.T) {
	changes := map[string][]func(*Job){
		"Name":    {func(j *Job) { j.Name = "bas" }},
		"Source":  {func(j *Job) { j.Source = reference(t, "ghcr.io/acme/base:1") }, func(j *Job) { j.Source = reference(t, "ghcr.io/acme/bases") }},
		"Targets": {func(j *Job) { j.Targets = j.Targets[:1] }, func(j *Job) { j.Targets = []image.Reference{reference(t, "b.io/xc.io/x")} }},
		"Images": {
			func(j *Job) { j.Images = nil }, func(j *Job) { j.Images[0].Source = reference(t, "a.io/x:2") }, func(j *Job) { j.Images[0].Targets = j.Images[0].Targets[:1] },
			func(j *Job) {
				j.Images = append(j.Images, Image{reference(t, "a.io/y:1"), []image.Reference{reference(t, "b.io/y:1")}})
			},
		},
		"Repositories":      {func(j *Job) { j.Repositories = []string{"ab-*"} }, func(j *Job) { j.Repositories = nil }},
		"Tags":              {func(j *Job) { j.Tags = filter(t, tagfilter.Spec{Include: []string{"1.*"}, Newest: 4}) }, func(j *Job) { j.Tags = tagfilter.Filter{} }},
		"Retag":             {func(j *Job) { j.Retag = Retag{} }, func(j *Job) { j.Retag = Retag{Prefix: "-m"} }},
		"Platforms":         {func(j *Job) { j.Platforms = nil }, func(j *Job) { j.Platforms = []image.Platform{{OS: "linux", Architecture: "amd64", Variant: "v2"}} }},
		"RefuseMoved":       {func(j *Job) { j.RefuseMoved = false }},
		"Immutable":         {func(j *Job) { j.Immutable = tagfilter.Filter{} }, func(j *Job) { j.Immutable = filter(t, tagfilter.Spec{Include: []string{"1.*"}}) }},
		"Referrers":         {func(j *Job) { j.Referrers = Referrers{} }, func(j *Job) { j.Referrers = Referrers{All: true} }, func(j *Job) { j.Referrers.Types = []string{"a/b", "c/d"} }},
		"ReferrersInterval": {func(j *Job) { j.ReferrersInterval++ }},
		"ForeignLayers":     {func(j *Job) { j.ForeignLayers = false }},
		"Engine":            {func(j *Job) { j.Engine = "auto" }, func(j *Job) { j.Engine = "copy" }},
		"ResolveServer":     {func(j *Job) { j.ResolveServer = false }},
		"Timeout":           {func(j *Job) { j.Timeout++ }},
		"Retries":           {func(j *Job) { j.Retries = 0 }, func(j *Job) { j.Retries = 30 }},
		"Schedule": {
			func(j *Job) { j.Schedule = schedule.Schedule{} },
			func(j *Job) { j.Schedule = scheduled(t, "17 */6 * * *", "Europe/Paris") },
			func(j *Job) { j.Schedule = scheduled(t, "18 */6 * * *", "Europe/Berlin") },
		},
		"Windows":  {func(j *Job) { j.Windows = schedule.Windows{} }, func(j *Job) { j.Windows = windows(t, "23:00") }},
		"CutAtEnd": {func(j *Job) { j.CutAtEnd = false }},
		"Jitter":   {func(j *Job) { j.Jitter++ }},
		"Policies": {
			func(j *Job) { j.Policies = nil },
			func(j *Job) {
				j.Policies = []*Policy{{Name: "acme", Images: []string{"ghcr.io/acme/*"}, identity: "1"}}
			},
			func(j *Job) {
				j.Policies = []*Policy{{Name: "acme", Images: []string{"ghcr.io/acme/**"}, identity: "2"}}
			},
		},
		"Priority": {func(j *Job) { j.Priority = -5 }, func(j *Job) { j.Priority = 0 }},
	}
	base := full(t)
	seen := map[string]string{base.fingerprint(): "the job itself"}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[Job]()) {
		if field.Name == "Fingerprint" {
			continue
		}
		if len(changes[field.Name]) == 0 {
			t.Errorf("%s is not changed by this test", field.Name)
		}
		if reflect.ValueOf(base).FieldByIndex(field.Index).IsZero() {
			t.Errorf("%s is zero in the job that is changed", field.Name)
		}
		for _, change := range changes[field.Name] {
			j := full(t)
			change(&j)
			got := j.fingerprint()
			if first, taken := seen[got]; taken {
				t.Errorf("another %s has the fingerprint of %s", field.Name, first)
			}
			seen[got] = "another " + field.Name
		}
	}
}

// TestFingerprintLasts: a daemon knows its jobs again after an update, also one that brings new fields. Where this fails, every job of
// every user runs again.
func TestFingerprintLasts(t *testing.T) {
	j := full(t)
	j.Windows, j.CutAtEnd, j.Retag, j.Policies, j.Images = schedule.Windows{}, false, Retag{}, nil, nil
	j.Engine, j.ResolveServer, j.Immutable = "auto", false, tagfilter.Filter{} // which came later, and change nothing where they are not used
	if got, want := j.fingerprint(), "b294b1be5f70b151f6552b6ff3127aeb"; got != want {
		t.Errorf("the fingerprint is %s, and was %s", got, want)
	}
	least := Job{Name: "base", Source: reference(t, "ghcr.io/acme/base:1"), Targets: []image.Reference{reference(t, "b.io/x:1")}}
	if got, want := least.fingerprint(), "4fcc1bea17c2d41526eb52a714b42395"; got != want {
		t.Errorf("that of a job with no options is %s, and was %s", got, want)
	}
}

// TestFingerprintIsOfTheJob, not of how and where it is written.
func TestFingerprintIsOfTheJob(t *testing.T) {
	const one = `version: 1
mappings:
  - name: alpine
    source: alpine
    target: b.io/alpine
    tags: ["3.*"]
    schedule: "17 */6 * * *"
    jitter: 10m
    platforms: [linux/amd64]
    timeout: 60m
    retries: 3
`
	const same = `version: 1
jobs: 9
registries: {b.io: {plainHTTP: true}}
defaults: {schedule: "17  */6 * * *", timezone: UTC, tags: {include: ["3.*"]}, jitter: 600s, timeout: 1h, priority: 0}
mappings:
  # It comes second now.
  - {name: other, source: "busybox:1", target: b.io/busybox}
  - {platforms: [linux/x86_64], target: b.io/alpine, name: alpine, source: docker.io/library/alpine}
`
	const changed = `version: 1
defaults: {schedule: "17 */6 * * *", jitter: 10m, platforms: [linux/amd64]}
mappings:
  - {name: alpine, source: alpine, target: b.io/alpine, tags: ["3.*", edge]}
`
	fingerprint := func(text string) string {
		cfg, err := config.Parse("dray.yaml", []byte(text), config.Options{})
		if err != nil {
			t.Fatal(err)
		}
		jobs, err := Compile(cfg)
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range jobs {
			if j.Name == "alpine" {
				return j.Fingerprint
			}
		}
		t.Fatal("there is no such job")
		return ""
	}
	want := fingerprint(one)
	if len(want) != fingerprintLength || strings.Trim(want, "0123456789abcdef") != "" {
		t.Errorf("the fingerprint is %q", want)
	}
	if got := fingerprint(same); got != want {
		t.Error("the same mapping, written differently, has another fingerprint")
	}
	if got := fingerprint(changed); got == want {
		t.Error("another mapping has the same fingerprint")
	}
}
