package plan

import (
	"testing"

	"github.com/draysync/dray/internal/config"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/signature"
)

// TestPolicyOf: the longest pattern that matches decides, and a mapping may name a policy or none.
func TestPolicyOf(t *testing.T) {
	cfg := &config.Config{Policies: []config.Policy{
		{Name: "all", Images: []string{"ghcr.io/**"}},
		{Name: "app", Images: []string{"ghcr.io/acme/app", "[::1]:5000/*"}},
		{Name: "by-name"},
		{Name: "team", Images: []string{"ghcr.io/acme/**", "docker.io/library/alpine"}},
	}}
	tests := []struct{ mapping, source, want string }{
		{"", "ghcr.io/acme/app:v1", "app"},
		{"", "ghcr.io/acme/app-2:v1", "team"},
		{"", "ghcr.io/acme/a/b/c:v1", "team"},
		{"", "ghcr.io/acme:v1", "all"},
		{"", "ghcr.io/other/x:v1", "all"},
		{"", "docker.io/library/alpine:3", "team"},
		{"", "docker.io/library/alpine-x:3", ""},
		{"", "other.ghcr.io/acme/app:v1", ""},
		{"", "[::1]:5000/app:v1", "app"},
		{"", "[::1]:5000/team/app:v1", ""},
		{"by-name", "quay.io/x/y:v1", "by-name"},
		{"by-name", "ghcr.io/acme/app:v1", "by-name"},
		{"app", "quay.io/x/y:v1", "app"},
		{"false", "ghcr.io/acme/app:v1", ""},
	}
	for _, tt := range tests {
		source := reference(t, tt.source)
		target := image.Repository{Registry: "registry.example", Path: "x"}.Tag("v1")
		cfg.Mappings = []config.Mapping{{Name: "m", Source: source, Targets: []image.Reference{target}, Verify: tt.mapping}}
		jobs, err := Compile(cfg)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if p := jobs[0].PolicyOf(source.Repository); p != nil {
			got = p.Name
		}
		if got != tt.want {
			t.Errorf("verify %q, %s: %q, want %q", tt.mapping, tt.source, got, tt.want)
		}
	}
}

// TestPolicyChangesJob: another key, threshold, mode or attestation has the job run again, and a policy that does not match it has not.
func TestPolicyChangesJob(t *testing.T) {
	fingerprint := func(policies ...config.Policy) string {
		jobs, err := Compile(&config.Config{Policies: policies, Mappings: []config.Mapping{{
			Name: "m", Source: reference(t, "ghcr.io/acme/app:v1"), Targets: []image.Reference{reference(t, "b.io/app:v1")},
		}}})
		if err != nil {
			t.Fatal(err)
		}
		return jobs[0].Fingerprint
	}
	policy := func(change func(*config.Policy)) config.Policy {
		p := config.Policy{Name: "p", Images: []string{"ghcr.io/**"}, Verify: signature.Policy{Keys: []signature.Key{{}}, Threshold: 1}}
		change(&p)
		return p
	}
	identity := func(subject string) signature.Identity {
		return signature.Identity{Issuer: signature.Exactly("x"), Subject: signature.Exactly(subject), Root: root{}}
	}
	same := policy(func(*config.Policy) {})
	none := fingerprint()
	if got := fingerprint(config.Policy{Name: "other", Images: []string{"quay.io/**"}}, config.Policy{Name: "by-name"}); got != none {
		t.Error("policies for others change the job")
	}
	seen := map[string]string{none: "none"}
	for name, p := range map[string]config.Policy{
		"the policy":   same,
		"an identity":  policy(func(p *config.Policy) { p.Verify.Identities = []signature.Identity{identity("ann")} }),
		"another one":  policy(func(p *config.Policy) { p.Verify.Identities = []signature.Identity{identity("bob")} }),
		"no key":       policy(func(p *config.Policy) { p.Verify.Keys = nil }),
		"threshold":    policy(func(p *config.Policy) { p.Verify.Threshold = 2 }),
		"attestations": policy(func(p *config.Policy) { p.Verify.Attestations = []string{"x"} }),
		"platforms":    policy(func(p *config.Policy) { p.Verify.Platforms = true }),
		"from":         policy(func(p *config.Policy) { p.Verify.From = image.Repository{Registry: "ghcr.io", Path: "acme/signatures"} }),
		"warn":         policy(func(p *config.Policy) { p.Warn = true }),
	} {
		got := fingerprint(p)
		if other, ok := seen[got]; ok {
			t.Errorf("%s is the same job as %s", name, other)
		}
		seen[got] = name
	}
	renamed := policy(func(p *config.Policy) { p.Name, p.Images = "q", []string{"ghcr.io/acme/**"} })
	if fingerprint(renamed) != fingerprint(same) {
		t.Error("a policy of another name and pattern, with the same keys, changes the job")
	}
}

// TestUnverifiable: a source that dray does not reach cannot be verified.
func TestUnverifiable(t *testing.T) {
	m := config.Mapping{Name: "m", Source: reference(t, "ghcr.io/acme/app:v1"), Targets: []image.Reference{reference(t, "b.io/app:v1")}, ResolveServer: true}
	cfg := &config.Config{Policies: []config.Policy{{Name: "all", Images: []string{"ghcr.io/**"}}}, Mappings: []config.Mapping{m}}
	if _, err := Compile(cfg); err == nil {
		t.Error("it compiles")
	}
	cfg.Mappings[0].Verify = config.NoPolicy
	if _, err := Compile(cfg); err != nil {
		t.Error(err)
	}
	m.Source, m.Repositories = reference(t, "ghcr.io/acme"), []string{"app"} // the prefix itself matches no pattern
	cfg.Mappings, cfg.Policies[0].Images = []config.Mapping{m}, []string{"ghcr.io/acme/**"}
	if _, err := Compile(cfg); err == nil {
		t.Error("it compiles, with repositories")
	}
}

// TestLostPolicy: a mapping whose policy is not there must not go without one.
func TestLostPolicy(t *testing.T) {
	m := config.Mapping{Name: "m", Source: reference(t, "ghcr.io/acme/app:v1"), Targets: []image.Reference{reference(t, "b.io/app:v1")}, Verify: "gone"}
	jobs, err := Compile(&config.Config{Mappings: []config.Mapping{m}})
	if err != nil {
		t.Fatal(err)
	}
	if p := jobs[0].PolicyOf(m.Source.Repository); p == nil || p.Warn || len(p.Keys) > 0 {
		t.Errorf("%+v", p)
	}
}

// root is a trusted root, which is not asked here.
type root struct{ signature.Root }

func (root) Fingerprint() string { return "root" }
