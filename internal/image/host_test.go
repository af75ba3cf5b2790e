package image

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestOneHostOneName lists spellings that lead to one connection.
func TestOneHostOneName(t *testing.T) {
	same := map[string][]string{
		"docker.io":                 {"docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com", "Docker.IO.:443", "INDEX.docker.io:0443"},
		"registry.example":          {"registry.example", "REGISTRY.Example", "registry.example.", "registry.example:443", "registry.example.:00443"},
		"registry.example:80":       {"registry.example:80", "registry.example.:080"},
		"localhost":                 {"localhost", "LOCALHOST:443", "localhost."},
		"localhost:5000":            {"localhost:5000", "localhost.:05000"},
		"acme:443":                  {"acme:443", "acme.", "Acme.:443"},
		"127.0.0.1:7002":            {"127.0.0.1:7002", "127.0.0.1:07002", "127.0.0.1.:7002", "[::ffff:127.0.0.1]:7002", "[::FFFF:7f00:1]:7002", "127。0。0。1:7002"},
		"[::1]:5000":                {"[::1]:5000", "[0:0:0:0:0:0:0:1]:5000", "[0::0001]:05000"},
		"[2001:db8::a]":             {"[2001:db8::a]", "[2001:DB8:0::A]:443", "[2001:0db8:0000::000a]"},
		"xn--bcher-kva.example":     {"bücher.example", "BÜCHER.example:443", "bücher.example", "xn--bcher-kva.example", "XN--bcher-KVA.example."},
		"xn--bcher-kva.example:444": {"bücher.example:444", "Bücher.example.:0444", "bücher。example:444"},
	}
	for want, spellings := range same {
		for _, s := range spellings {
			if got, err := CanonicalHost(s); err != nil || got != want {
				t.Errorf("CanonicalHost(%q) = %q, %v; want %s", s, got, err, want)
			}
			ref, err := Parse(s + "/acme/tool:1")
			if want, _ := Parse(want + "/acme/tool:1"); err != nil || ref != want {
				t.Errorf("Parse(%q) = %v, %v; want %v", s+"/acme/tool:1", ref, err, want)
			}
			prefix, err := ParsePrefix(s + "/acme")
			if want, _ := ParsePrefix(want + "/acme"); err != nil || prefix != want {
				t.Errorf("ParsePrefix(%q) = %v, %v; want %v", s+"/acme", prefix, err, want)
			}
		}
	}
}

func TestCanonicalHostRefuses(t *testing.T) {
	cases := map[string]string{
		"": "write host or host:port", "a b": "write host or host:port", "a_b.example": "write host or host:port", "-a.example": "write host or host:port",
		"a..b": "write host or host:port", "a.example..": "write host or host:port", ".": "write host or host:port", "a.example/b": "write host or host:port",
		"a\x80.example": "write host or host:port", "a.example:": "write host or host:port", "a.example:x": "write host or host:port", "a.example:+5": "write host or host:port", "a:1:2": "write host or host:port",
		"[::1": "write host or host:port", "[::1]5000": "write host or host:port", "xn--\u00fc.example": "write host or host:port",
		"a.example:0": "from 1 to 65535", "a.example:99999": "from 1 to 65535", "[::1]:65536": "from 1 to 65535", "a.example:18446744073709551616": "from 1 to 65535",
		"[]": "in brackets", "[127.0.0.1]": "in brackets", "[fe80::1%eth0]:5000": "in brackets", "[g::]": "in brackets",
		"::1": "write [::1]", "2001:db8::1": "write [2001:db8::1]",
		"127.1": "no IPv4 address", "0177.0.0.1:5000": "no IPv4 address", "0x7f000001:5000": "no IPv4 address", "2130706433:5000": "no IPv4 address", "256.0.0.1": "no IPv4 address",
		"hub.docker.com": "write docker.io", "robot:secret@registry.example": "under registries",
	}
	for host, want := range cases {
		if got, err := CanonicalHost(host); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("CanonicalHost(%q) = %q, %v; want an error with %q", host, got, err, want)
		}
	}
}

// TestMistakesAreNamed holds what is said instead of asking Docker Hub for an image that has a registry's name.
func TestMistakesAreNamed(t *testing.T) {
	cases := map[string]string{
		"registry.example.com":                         `names a registry and no repository: write registry.example.com/REPOSITORY`,
		"Registry.example.com":                         `names a registry and no repository: write Registry.example.com/REPOSITORY`,
		"registry.example.com:5000":                    `names a registry and no repository: write registry.example.com:5000/REPOSITORY`,
		"registry.example.com:latest":                  `names a registry and no repository: write registry.example.com/REPOSITORY:latest`,
		"registry.example.com@" + sum:                  `names a registry and no repository: write registry.example.com/REPOSITORY`,
		"localhost":                                    `names a registry and no repository: write localhost/REPOSITORY`,
		"localhost:5000":                               `names a registry and no repository: write localhost:5000/REPOSITORY`,
		"[::1]:5000":                                   `names a registry and no repository: write [::1]:5000/REPOSITORY`,
		"docker.io":                                    `names a registry and no repository: write docker.io/REPOSITORY`,
		"registry.example.com:99999/a":                 `"registry.example.com:99999" is not a registry's host: its port is to be one from 1 to 65535`,
		"registry.example.com:0/a":                     `"registry.example.com:0" is not a registry's host: its port is to be one from 1 to 65535`,
		"hub.docker.com":                               `hub.docker.com is Docker Hub's web site, and not its registry: write docker.io`,
		"hub.docker.com/r/acme/tool":                   `is a page of Docker Hub's web site: write docker.io/acme/tool`,
		"hub.docker.com/r/acme/tool:1.2":               `is a page of Docker Hub's web site: write docker.io/acme/tool:1.2`,
		"Hub.Docker.com/_/alpine":                      `is a page of Docker Hub's web site: write docker.io/library/alpine`,
		"https://hub.docker.com/_/alpine/":             `is a page of Docker Hub's web site: write docker.io/library/alpine`,
		"https://hub.docker.com/_/alpine?tab=tags":     `is a page of Docker Hub's web site: write docker.io/library/alpine`,
		"https://hub.docker.com/r/acme/tool/tags#x":    `is a page of Docker Hub's web site: write docker.io/acme/tool`,
		"hub.docker.com/acme/tool":                     `is a page of Docker Hub's web site: write docker.io/acme/tool`,
		"hub.docker.com/layers/library/alpine/3.20/x/": `is a page of Docker Hub's web site: write docker.io/NAMESPACE/NAME`,
		"hub.docker.com/r":                             `is a page of Docker Hub's web site: write docker.io/NAMESPACE/NAME`,
		"https://ghcr.io/acme/base:1":                  `has the scheme "https": write ghcr.io/acme/base:1 without a scheme (a directory is ocidir://PATH)`,
		"http://localhost:5000/a/":                     `has the scheme "http": write localhost:5000/a without a scheme, and plainHTTP: true for its host under registries (a directory is ocidir://PATH)`,
		"docker://alpine:3.20":                         `has the scheme "docker": write alpine:3.20 without a scheme (a directory is ocidir://PATH)`,
		"oci:///srv/x":                                 `has the scheme "oci": write host/repository without a scheme (a directory is ocidir://PATH)`,
		"https://registry.example.com":                 `has the scheme "https": write host/repository without a scheme (a directory is ocidir://PATH)`,
	}
	for in, want := range cases {
		want = fmt.Sprintf("reference %q: %s", in, want)
		if ref, err := Parse(in); err == nil || err.Error() != want {
			t.Errorf("Parse(%q) = %v, %v; want %s", in, ref, err, want)
		}
	}
	if got, err := ParsePrefix("ocidir:///srv/a@b/stage"); err != nil || got.Path != "/srv/a@b/stage" {
		t.Errorf("a directory with @ as a prefix is %v, %v", got, err)
	}
	for in, want := range map[string]string{
		"hub.docker.com/r/acme": "write docker.io/NAMESPACE/NAME", "registry.example": "names no path", "registry.example:5000": "names no path",
		"registry.example/acme@" + sum: "takes no tag or digest",
	} {
		if _, err := ParsePrefix(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParsePrefix(%q): %v; want %q", in, err, want)
		}
	}
}

// TestUserinfoIsNotRepeated gives secrets in every place that a URL, or a slip, has for them.
func TestUserinfoIsNotRepeated(t *testing.T) {
	const secret = "s3cr3t"
	for _, in := range []string{
		"robot:s3cr3t@registry.example/a", "robot:s3cr3t@registry.example", "robot:s3cr3t@registry.example:5000", "s3cr3t@registry.example/a:1",
		"https://robot:s3cr3t@registry.example/a", "docker://robot:s3cr3t@registry.example/a", "OCIDIR://robot:s3cr3t@registry.example/a",
		"robot:p@s3cr3t@registry.example/a", "robot:s3cr3t/x@registry.example/a", "robot:s3cr3t@registry.example/a@" + sum,
		"robot:s3cr3t@sha256:ab@registry.example/a", "robot:s3cr3t@", "ROBOT:s3cr3t@Registry.Example/A", "robot:s3cr3t@hub.docker.com/r/a/b",
	} {
		_, errRef := Parse(in)
		_, errImage := ParseImage(in)
		_, errPrefix := ParsePrefix(in)
		_, errHost := CanonicalHost(in)
		for _, err := range []error{errRef, errImage, errPrefix, errHost} {
			if !errors.Is(err, ErrUserinfo) || strings.Contains(err.Error(), secret) {
				t.Errorf("%q: %v", in, err)
			}
		}
	}
	for _, in := range []string{"alpine", "alpine:3@" + sum, "alpine@sha256:12", "a@md5:0123", "ocidir:///srv/a@b/c:1"} {
		if HoldsUserinfo(in) {
			t.Errorf("%q is said to hold a user's name", in)
		}
	}
}

// TestSpellingsOfOneHost respells hosts at random, and has all spellings equal.
func TestSpellingsOfOneHost(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	hosts := []string{"registry.example", "a.b-c.example:5000", "localhost", "localhost:80", "127.0.0.1:7002", "docker.io", "acme:5000", "xn--bcher-kva.example:8443", "[2001:db8::a]:5000", "[::1]"}
	for range 5000 {
		host := hosts[random.IntN(len(hosts))]
		other := respell(random, host)
		a, errA := Parse(host + "/acme/tool")
		b, errB := Parse(other + "/acme/tool")
		if errA != nil || errB != nil || a != b || a.Registry != host {
			t.Fatalf("%q is %v, %v, and %q is %v, %v", host, a, errA, other, b, errB)
		}
	}
}

func respell(random *rand.Rand, host string) string {
	name, port := host, ""
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		name, port = host[:i], host[i:]
	}
	letters := []byte(name)
	for i := range letters {
		if random.IntN(2) == 0 {
			letters[i] = strings.ToUpper(name)[i]
		}
	}
	name = string(letters)
	switch {
	case name[0] == '[':
		name = strings.Replace(name, "::", []string{"::", ":0::", "::0:0:"}[random.IntN(3)], 1)
		if strings.HasPrefix(name, "[:0:") {
			name = strings.Replace(name, "[:0:", "[0:", 1)
		}
	case random.IntN(2) == 0:
		name += "."
	}
	if port == "" && random.IntN(2) == 0 {
		port = ":443"
	}
	if port != "" {
		port = ":" + strings.Repeat("0", random.IntN(4)) + port[1:]
	}
	return name + port
}

func FuzzCanonicalHost(f *testing.F) {
	for _, s := range []string{"docker.io", "HUB.docker.com", "a.example.:0443", "acme:443", "[::ffff:7f00:1]:07002", "bücher。example", "127.1", "xn--a:1", "１２７.0.0.1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		host, err := CanonicalHost(s)
		if err != nil {
			return
		}
		if again, err := CanonicalHost(host); err != nil || again != host {
			t.Fatalf("%q is %q, which is %q, %v", s, host, again, err)
		}
		if upper, err := CanonicalHost(strings.ToUpper(host)); err != nil || upper != host {
			t.Fatalf("%q in upper case is %q, %v", host, upper, err)
		}
		ref, err := Parse(host + "/acme/tool")
		if err != nil || ref.Registry != host {
			t.Fatalf("%q is a host, and a reference to it %#v, %v", host, ref, err)
		}
	})
}
