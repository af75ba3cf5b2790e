package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/lazyregexp"
)

// Registry has the settings of one registry, or of the repositories below one path of it.
type Registry struct {
	// Key is the canonical host, or host/path.
	Key string
	Pos Position
	// Username and Password are both set or both empty in a file. A password alone is an Entra token, for an Azure registry.
	Username string
	Password Secret
	// IdentityToken is a refresh token of the registry's token server, CredentialHelper the name of a program after docker-credential-,
	// Anonymous says not to sign in. At most one of these and Username is set.
	IdentityToken    Secret
	CredentialHelper string
	Anonymous        bool
	TLS              TLS
	// PlainHTTP uses HTTP without TLS.
	PlainHTTP bool
	// Concurrency limits the requests in flight; 0 for the default.
	Concurrency int
	// Bandwidth limits the bytes of blobs per second, in each direction; 0 for no limit.
	Bandwidth int64
	RateLimit RateLimit
	// Mirrors are canonical hosts, or host/path.
	Mirrors []string
	// ByHead resolves each tag by HEAD instead of using the registry's own listing.
	ByHead bool
	// ByHub uses the listings of Docker Hub's own API.
	ByHub bool
	// Azure is nil for a registry that is not one of Azure's.
	Azure *RegistryAzure
	// AWS is nil if the config says nothing of AWS.
	AWS *RegistryAWS
	// Google is nil if the config says nothing of Google's cloud.
	Google *RegistryGoogle
	// Quay is nil if the config says nothing of a robot account of Quay.
	Quay *RegistryQuay
}

// RateLimit has the limits to keep within. A number is 0 if it is not set.
type RateLimit struct {
	// Keep is the number of pulls of a window to leave to others, KeepPercent the percentage of the limit.
	Keep, KeepPercent int
	RequestsPerSecond int
	// PullsPerWindow and Window are both set or both zero.
	PullsPerWindow int
	Window         time.Duration
}

// TLS has the certificates to trust and to present. Relative paths in the file are relative to its directory; here they are joined with it.
type TLS struct {
	CAFile             string
	CertFile           string
	KeyFile            string
	InsecureSkipVerify bool
}

// registryKeys returns the canonical keys of the section's entries, empty for an invalid one, and notes which of them are used without TLS.
func (b *builder) registryKeys(section dict[registrySection]) []string {
	keys := make([]string, len(section.entries))
	for i, e := range section.entries {
		var err error
		if keys[i], err = registryKey(e.name); err != nil {
			b.fail(e.keyAt, err, "")
		}
		b.plain[keys[i]] = b.plain[keys[i]] || e.value.PlainHTTP.value
	}
	return keys
}

// registries returns the section's values by canonical key. keys are those of registryKeys.
func (b *builder) registries(section dict[registrySection], keys []string) map[string]Registry {
	all := make(map[string]Registry, len(section.entries))
	for i, e := range section.entries {
		if keys[i] == "" {
			continue
		}
		key := bare(keys[i], b.isPlain)
		if first, ok := b.known[key]; ok {
			b.fail(e.keyAt, fmt.Errorf("names the registry %s again, which %s does", key, first.Pos.From(e.keyAt.pos.File)), "make one entry of both")
			continue
		}
		if tlsPort.MatchString(e.name) && e.value.PlainHTTP.value && !strings.HasSuffix(key, ":443") {
			b.fail(e.value.PlainHTTP.origin, errors.New("means port 80, and the entry names the port of HTTPS"), "write "+key+", or remove plainHTTP")
		}
		all[key] = b.registry(key, e)
		b.known[key] = all[key]
	}
	return all
}

// isPlain reports whether a registry is used without TLS.
func (b *builder) isPlain(host string) bool { return b.plain[host] }

// tlsPort matches a host with the port of HTTPS, which the canonical form omits.
var tlsPort = regexp.MustCompile(`:0*443$`)

// bare returns a canonical host, or host/path, without the port 80 if the host without a port is used without TLS, since the connection is
// then the same.
func bare(key string, plain func(host string) bool) string {
	host, path, _ := strings.Cut(key, "/")
	if short, ok := strings.CutSuffix(host, ":80"); ok && plain(short) {
		return strings.TrimSuffix(short+"/"+path, "/")
	}
	return key
}

// Canonical returns the reference with the name that this config uses for its registry.
func (c *Config) Canonical(r image.Reference) image.Reference {
	r.Registry = bare(r.Registry, func(host string) bool { return c.Registries[host].PlainHTTP })
	return r
}

// registryKey returns the canonical form of host or host/path.
func registryKey(name string) (string, error) {
	if len(name) > maxReference {
		return "", fmt.Errorf("has %d characters, %d are allowed", len(name), maxReference)
	}
	if image.HoldsUserinfo(name) {
		return "", image.ErrUserinfo
	}
	host, rest, below := strings.Cut(name, "/")
	canonical, err := image.CanonicalHost(host)
	if err != nil {
		return "", err
	}
	if canonical != "localhost" && !strings.ContainsAny(host, ".:") {
		return "", fmt.Errorf("%q has neither a dot nor a port, so no reference can name it: write the registry's full name, or %s:PORT", host, host)
	}
	if !below {
		return canonical, nil
	}
	if !repositoryLiteral.MatchString(rest) {
		return "", fmt.Errorf("%s is not a path at %s: write host or host/path, in lower case and without a tag", quote(rest), canonical)
	}
	return canonical + "/" + rest, nil
}

// openTo returns where the entry gives up TLS, or what it proves.
func (s registrySection) openTo() origin {
	switch {
	case s.PlainHTTP.value:
		return s.PlainHTTP.origin
	case s.TLS.InsecureSkipVerify.value:
		return s.TLS.InsecureSkipVerify.origin
	}
	return origin{}
}

func (b *builder) registry(key string, e entry[registrySection]) Registry {
	s := e.value
	if strings.Contains(key, "/") {
		host, _, _ := strings.Cut(key, "/")
		for _, at := range []origin{s.TLS.origin, s.PlainHTTP.origin, s.Concurrency.origin, s.Bandwidth.origin, s.RateLimit.origin, s.Mirrors.origin, s.Listing.origin, s.Azure.origin, s.AWS.origin} {
			if at.set {
				b.fail(at, errors.New("applies to a whole registry, and this entry is for a part of one"), "move it to the entry "+host)
			}
		}
	}
	if s.Listing.value == "hub" && key != image.DockerHub {
		b.fail(s.Listing.origin, errors.New("hub is Docker Hub's own API, and says nothing of other registries"), "remove it, or move it to the entry "+image.DockerHub)
	}
	for _, cloud := range []origin{s.AWS.origin, s.Google.origin, s.Quay.origin} {
		if at := s.openTo(); cloud.set && at.set {
			b.fail(at, errors.New("would let anybody on the way read the credential"), "remove it, or "+cloud.key)
		}
	}
	return Registry{
		Key:      key,
		Pos:      e.keyAt.pos,
		Username: s.Username.value,
		Password: Secret(s.Password.value),

		IdentityToken:    Secret(s.IdentityToken.value),
		CredentialHelper: b.helper(s.CredentialHelper),
		Anonymous:        s.Anonymous.value,
		TLS: TLS{
			CAFile:             b.file(s.TLS.CAFile),
			CertFile:           b.file(s.TLS.CertFile),
			KeyFile:            b.file(s.TLS.KeyFile),
			InsecureSkipVerify: s.TLS.InsecureSkipVerify.value,
		},
		PlainHTTP:   s.PlainHTTP.value,
		Concurrency: s.Concurrency.value,
		Bandwidth:   b.bandwidth(s.Bandwidth),
		RateLimit:   b.rateLimit(s.RateLimit),
		Mirrors:     b.mirrors(key, s.Mirrors),
		ByHead:      s.Listing.value == "head",
		ByHub:       s.Listing.value == "hub",
		Azure:       b.registryAzure(s.Azure),
		AWS:         b.registryAWS(key, s.AWS),
		Google:      b.registryGoogle(key, s.Google),
		Quay:        b.registryQuay(s.Quay),
	}
}

// helperName matches a helper's name after docker-credential-: part of a program's name, not a path.
var helperName = lazyregexp.New(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

func (b *builder) helper(t text) string {
	if t.set && !helperName().MatchString(t.value) {
		b.invalid(t, fmt.Errorf("%s is not a credential helper: write its name after docker-credential-, such as ecr-login", quote(t.raw)), "the name of a program after docker-credential-")
	}
	return t.value
}

func (b *builder) mirrors(key string, l list[text]) []string {
	var mirrors []string
	seen := map[string]text{}
	for _, t := range l.items {
		if !t.set {
			continue
		}
		name, err := registryKey(t.value)
		if err != nil {
			b.invalid(t, err, "a host such as mirror.gcr.io, or host/path")
			continue
		}
		if name = bare(name, b.isPlain); name == key {
			b.fail(t.origin, fmt.Errorf("%s is the registry itself", quote(t.raw)), "name another that has its content")
			continue
		}
		if first, ok := seen[name]; !ok {
			seen[name] = t
			mirrors = append(mirrors, name)
		} else if first.value != t.value { // equal texts have been reported by the list
			b.fail(t.origin, fmt.Errorf("%s is the same mirror as %s in line %d", quote(t.raw), quote(first.raw), first.pos.Line), "remove one of them")
		}
	}
	return mirrors
}

// The largest part of a limit that can be kept for others, in percent, and the longest window.
const (
	maxKeep   = 90
	maxWindow = 31 * 24 * time.Hour
)

func (b *builder) rateLimit(s rateLimitSection) RateLimit {
	r := RateLimit{RequestsPerSecond: s.RequestsPerSecond.value, PullsPerWindow: s.PullsPerWindow.value}
	if s.Keep.set {
		percent, isPart := strings.CutSuffix(s.Keep.value, "%")
		n, err := strconv.Atoi(percent)
		switch {
		case err != nil || n < 0 || n > 999_999 || isPart && n > maxKeep || percent[0] == '+':
			b.invalid(s.Keep, fmt.Errorf("%s is not a number of pulls: write a whole number, or a percentage up to %d%%, such as 10%%", quote(s.Keep.raw), maxKeep), "a number of pulls, or a part such as 10%")
		case isPart:
			r.KeepPercent = n
		default:
			r.Keep = n
		}
	}
	if s.Window.set {
		if r.Window = b.duration(s.Window); r.Window > maxWindow {
			b.invalid(s.Window, fmt.Errorf("%s is too long: write at most 744h", quote(s.Window.raw)), "a duration of at most 744h")
		}
	}
	return r
}

// path returns a file's name joined with the directory of the config file, unless absolute.
func (b *builder) path(t text) string {
	if t.value == "" || filepath.IsAbs(t.value) {
		return t.value
	}
	return filepath.Join(b.folder, t.value)
}

// file is like path, for a file that is read.
func (b *builder) file(t text) string {
	path := b.path(t)
	if path != "" {
		b.files.add(path)
	}
	return path
}
