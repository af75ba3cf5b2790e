package image

import (
	"strings"
	"testing"
)

const sum = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func TestParseIsCanonical(t *testing.T) {
	same := map[string][]string{
		"docker.io/library/alpine:latest": {
			"alpine", "alpine:latest", "docker.io/alpine", "index.docker.io/library/alpine:latest", "library/alpine",
			"registry-1.docker.io/library/alpine", "Docker.io/alpine", "docker.io:443/alpine",
		},
		"docker.io/acme/tool:1":            {"acme/tool:1", "docker.io/acme/tool:1"},
		"localhost:5000/a:1":               {"localhost:5000/a:1"},
		"localhost/a:1":                    {"localhost/a:1"},
		"[::1]:5000/a/b:1":                 {"[::1]:5000/a/b:1"},
		"ghcr.io/acme/base@" + sum:         {"ghcr.io/acme/base@" + sum, "GHCR.io:443/acme/base@" + sum},
		"ghcr.io/acme/base:x@" + sum:       {"ghcr.io/acme/base:x@" + sum},
		"registry.example/a__b/c-d.e_f:V1": {"registry.example/a__b/c-d.e_f:V1"},
		"ocidir:///srv/stage:edge":         {"ocidir:///srv/stage:edge", "ocidir:///srv/./stage/:edge"},
		"ocidir://stage:latest":            {"ocidir://stage", "ocidir://./stage"},
		"ocidir:///srv/x@" + sum:           {"ocidir:///srv/x@" + sum},
	}
	for want, inputs := range same {
		for _, in := range inputs {
			ref, err := ParseImage(in)
			if err != nil || ref.String() != want {
				t.Errorf("ParseImage(%q) = %v, %v; want %s", in, ref, err, want)
			}
			again, err := ParseImage(ref.String())
			if err != nil || again != ref {
				t.Errorf("%q does not read back as itself: %v, %v", ref, again, err)
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	cases := map[string]string{
		"":                                 "is empty",
		"https://ghcr.io/a":                "without a scheme",
		"Alpine":                           "must be in lower case",
		"ghcr.io/Acme/base":                "must be in lower case",
		"ghcr.io/":                         "names no repository",
		"ghcr.io/a//b":                     "is not valid",
		"ghcr.io/../b":                     "is not valid",
		"a:b:c":                            "is not valid",
		"alpine:":                          "the tag",
		"alpine:-x":                        "the tag",
		"alpine:a/b":                       "not a registry's host",
		"alpine@sha256:12":                 "digest",
		"alpine@" + sum + "@" + sum:        "digest",
		"ghcr.io/a@md5:0123":               "digest",
		"ocidir://":                        "names no directory",
		"ocidir:///x:a b":                  "the tag",
		"x.io/" + strings.Repeat("a", 256): "256 characters",
	}
	for in, want := range cases {
		if ref, err := Parse(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q) = %v, %v; want an error with %q", in, ref, err, want)
		}
	}
}

func TestParsePrefix(t *testing.T) {
	cases := map[string]string{
		"docker.io/library":    "docker.io/library",
		"docker.io/acme":       "docker.io/acme",
		"acme":                 "docker.io/acme",
		"acme/tools":           "docker.io/acme/tools",
		"ghcr.io/acme":         "ghcr.io/acme",
		"ghcr.io/acme/x":       "ghcr.io/acme/x",
		"localhost:5000/a/b/c": "localhost:5000/a/b/c",
		"ocidir:///srv/stage":  "ocidir:///srv/stage",
		"ocidir://stage":       "ocidir://stage",
	}
	for in, want := range cases {
		if got, err := ParsePrefix(in); err != nil || got.String() != want {
			t.Errorf("ParsePrefix(%q) = %v, %v; want %s", in, got, err, want)
		}
	}
	for _, bad := range []string{"", "ghcr.io", "docker.io", "index.docker.io", "ghcr.io/a:1", "ghcr.io/a/b:1", "acme:1", "ocidir:///x:1", "ghcr.io/A", "ghcr.io/a@" + sum} {
		if got, err := ParsePrefix(bad); err == nil {
			t.Errorf("ParsePrefix(%q) = %v, want an error", bad, got)
		}
	}
}

func TestPlatform(t *testing.T) {
	cases := []struct {
		want, offered string
		match         bool
	}{
		{"linux/amd64", "linux/amd64", true},
		{"linux/x86_64", "linux/amd64", true},
		{"linux/arm64", "linux/arm64/v8", true},
		{"linux/arm64/v8", "linux/arm64", true},
		{"linux/arm", "linux/arm/v6", true},
		{"linux/arm/v7", "linux/arm/v6", false},
		{"linux/amd64", "windows/amd64", false},
		{"linux/amd64", "unknown/unknown", false},
	}
	for _, c := range cases {
		want, err := ParsePlatform(c.want)
		if err != nil {
			t.Fatal(err)
		}
		offered, err := ParsePlatform(c.offered)
		if err != nil {
			t.Fatal(err)
		}
		if want.Matches(offered) != c.match {
			t.Errorf("%s matches %s: %v", c.want, c.offered, !c.match)
		}
	}
	for _, bad := range []string{"", "linux", "linux/", "a/b/c/d", "Linux/amd64", "linux/amd64 "} {
		if _, err := ParsePlatform(bad); err == nil {
			t.Errorf("ParsePlatform(%q) gave no error", bad)
		}
	}
}

func TestDigestOf(t *testing.T) {
	if got := DigestOf(nil, ""); got != sum {
		t.Errorf("DigestOf(nil) = %s", got)
	}
	long := DigestOf([]byte("x"), Digest("sha512:"+strings.Repeat("0", 128)))
	if !strings.HasPrefix(string(long), "sha512:") || Verifier(long) == nil {
		t.Errorf("DigestOf by sha512 = %s", long)
	}
	if ShortDigest(sum) != "sha256:e3b0c44298fc" || ShortDigest("x") != "x" {
		t.Error("ShortDigest")
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"alpine", "docker.io/a:1", "x.io:5/a/b@" + sum, "ocidir:///a:b", "[::1]:1/a", "a@b", "A.b/c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ref, err := Parse(s)
		if err != nil {
			return
		}
		again, err := Parse(ref.String())
		if err != nil || again != ref {
			t.Fatalf("%q parsed to %#v, whose string %q parses to %#v, %v", s, ref, ref, again, err)
		}
		if ref.IsLayout() == (ref.Registry != "") {
			t.Fatalf("%q is both layout and registry: %#v", s, ref)
		}
	})
}
