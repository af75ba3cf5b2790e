package config

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/tagfilter"
)

const everything = `version: 1
log: {level: warn}
defaults:
  platforms: [linux/aarch64]
  tags: {include: ["*"], exclude: [edge]}
  retries: 0
  referrers: false
registries:
  index.docker.io:
    username: ${env:USER}
    password: ${file:password}
    concurrency: 2
  LOCALHOST:5000: {plainHTTP: true}
  plain.example: {plainHTTP: false}
  ghcr.io/acme: {username: a, password: "$${b}"}
  registry.corp.example:
    tls: {caFile: ca.pem, certFile: /c.pem, keyFile: sub/c.key, insecureSkipVerify: true}
mappings:
  - source: alpine
    target: Registry.corp.example:443/mirror/alpine
    platforms: [linux/amd64, linux/arm/v7]
    tags: [1.10, latest]
  - name: one
    source: ghcr.io/acme/base:1@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
    targets: [x.io/base, "ocidir://stage/base:pinned"]
    moved: refuse
    timeout: 90s
    retries: 5
    referrers: [a/b]
  - source: docker.io/library
    repositories: [alpine, "go*"]
    target: ocidir:///srv/./stage
`

func TestParse(t *testing.T) {
	got, err := Parse("etc/dray.yaml", []byte(everything), world(""))
	if err != nil {
		t.Fatal(err)
	}
	at := func(line, col int) Position { return Position{File: "etc/dray.yaml", Line: line, Col: col} }
	defaultTags, err := tagfilter.Compile(tagfilter.Spec{Include: []string{"*"}, Exclude: []string{"edge"}})
	if err != nil {
		t.Fatal(err)
	}
	ownTags, err := tagfilter.Compile(tagfilter.Spec{Include: []string{"1.10", "latest"}})
	if err != nil {
		t.Fatal(err)
	}
	arm64 := []image.Platform{{OS: "linux", Architecture: "arm64"}}
	base := image.Repository{Registry: "ghcr.io", Path: "acme/base"}.Tag("1").WithDigest("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
	repository := func(registry, path string) image.Reference {
		return image.Reference{Repository: image.Repository{Registry: registry, Path: path}}
	}
	want := &Config{
		Path:   "etc/dray.yaml",
		Files:  []string{"/c.pem", absolute("etc/ca.pem"), absolute("etc/dray.yaml"), absolute("etc/password"), absolute("etc/sub/c.key")},
		Log:    Log{Level: "warn", Format: "auto"},
		Server: Server{Listen: "127.0.0.1:8484"}, Jobs: 4, ShutdownGrace: 25 * time.Second,
		Registries: map[string]Registry{
			"docker.io":      {Key: "docker.io", Pos: at(9, 3), Username: "robot", Password: hidden, Concurrency: 2},
			"localhost:5000": {Key: "localhost:5000", Pos: at(13, 3), PlainHTTP: true},
			"plain.example":  {Key: "plain.example", Pos: at(14, 3)},
			"ghcr.io/acme":   {Key: "ghcr.io/acme", Pos: at(15, 3), Username: "a", Password: "${b}"},
			"registry.corp.example": {Key: "registry.corp.example", Pos: at(16, 3), TLS: TLS{
				CAFile: "etc/ca.pem", CertFile: "/c.pem", KeyFile: "etc/sub/c.key", InsecureSkipVerify: true,
			}},
		},
		Azure: Azure{Cloud: "public", Credential: AzureCredential{Kind: "default"}, Parallel: 4, Rate: 2, Timeout: 30 * time.Minute},
		Mappings: []Mapping{
			{
				Name: "library/alpine", Pos: at(19, 5),
				Source:    repository("docker.io", "library/alpine"),
				Targets:   []image.Reference{repository("registry.corp.example", "mirror/alpine")},
				Tags:      ownTags,
				Platforms: []image.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm", Variant: "v7"}},
				Moved:     MovedFollow, Engine: EngineAuto, ReferrersInterval: 24 * time.Hour, Timeout: 12 * time.Hour,
			},
			{
				Name: "one", Pos: at(23, 5), Source: base,
				Targets: []image.Reference{
					image.Repository{Registry: "x.io", Path: "base"}.Tag("1"), image.Repository{Path: "stage/base"}.Tag("pinned"),
				},
				Platforms: arm64, Moved: MovedRefuse, Engine: EngineAuto, Referrers: Referrers{Types: []string{"a/b"}}, ReferrersInterval: 24 * time.Hour, Timeout: 90 * time.Second, Retries: 5,
			},
			{
				Name: "library", Pos: at(30, 5), Source: repository("docker.io", "library"),
				Targets:      []image.Reference{repository("", "/srv/stage")},
				Repositories: []string{"alpine", "go*"}, Tags: defaultTags,
				Platforms: arm64, Moved: MovedFollow, Engine: EngineAuto, ReferrersInterval: 24 * time.Hour, Timeout: 12 * time.Hour,
			},
		},
	}
	compare := cmp.Options{
		cmp.Comparer(func(a, b tagfilter.Filter) bool { return a.String() == b.String() }),
		cmp.Comparer(func(a, b Secret) bool { return a.Reveal() == b.Reveal() }),
		cmpopts.IgnoreFields(Config{}, "Texts"),
	}
	if diff := cmp.Diff(want, got, compare); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestDefaults(t *testing.T) {
	got, err := Parse("dray.yaml", []byte(small), Options{})
	if err != nil {
		t.Fatal(err)
	}
	m := got.Mappings[0]
	if m.Timeout != 12*time.Hour || m.Retries != 3 || m.Moved != MovedFollow || !m.Referrers.All || m.Platforms != nil || got.Log != (Log{Level: "info", Format: "auto"}) {
		t.Errorf("got %+v", got)
	}
}

// TestValuesKeepTheirText shows that what is no text to YAML is what is written where a text is wanted, and that merged keys
// hold unless the mapping has its own.
func TestValuesKeepTheirText(t *testing.T) {
	got, err := Load("testdata/valid/numbers-are-texts.yaml", Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"1.10", "1e3", "2024-01-15", "3", "latest", "true"}
	if tags, only := got.Mappings[0].Tags.Literals(); !only || cmp.Diff(want, tags) != "" {
		t.Errorf("tags %q", tags)
	}
	if got.Mappings[0].Name != "2026" {
		t.Errorf("name %q", got.Mappings[0].Name)
	}
	merged, err := Load("testdata/valid/anchors.yaml", Options{})
	if err != nil {
		t.Fatal(err)
	}
	third := merged.Mappings[2]
	if third.Name != "third" || third.Source.Path != "library/alpine" || third.Retries != 1 || third.Targets[0].Path != "third" {
		t.Errorf("merged %+v", third)
	}
}

// TestSpellings: a host has one name, however it is written, so that an entry of registries holds for all references to it.
func TestSpellings(t *testing.T) {
	got, err := Load("testdata/valid/spellings.yaml", Options{})
	if err != nil {
		t.Fatal(err)
	}
	m := got.Mappings[0]
	hosts := []string{m.Source.Registry}
	for _, target := range m.Targets {
		hosts = append(hosts, target.Registry)
	}
	if diff := cmp.Diff([]string{"ghcr.io", "[::1]:5000", "xn--bcher-kva.example", "plain.example", "localhost:5000"}, hosts); diff != "" {
		t.Errorf("references (-want +got):\n%s", diff)
	}
	keys := slices.Sorted(maps.Keys(got.Registries))
	if diff := cmp.Diff([]string{"127.0.0.1:5000", "plain.example", "plain.example/acme", "xn--bcher-kva.example"}, keys); diff != "" {
		t.Errorf("registries (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"mirror.example/hub"}, got.Registries["plain.example"].Mirrors); diff != "" {
		t.Errorf("mirrors (-want +got):\n%s", diff)
	}
	other := image.Repository{Registry: "ghcr.io:80", Path: "a"}.Tag("1")
	if plain := (image.Repository{Registry: "plain.example:80", Path: "a"}).Tag("1"); got.Canonical(plain).Registry != "plain.example" || got.Canonical(other) != other {
		t.Errorf("canonical: %v, %v", got.Canonical(plain), got.Canonical(other))
	}
}
