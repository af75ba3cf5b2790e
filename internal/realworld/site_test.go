package realworld

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/emulator/registry/registrytest"
)

// site is a registry with what stands before it, as dray is told of it.
type site struct {
	host     string // that dray is given
	settings string // of it below `registries:`, within braces; "" for none
	env      []string
	signedIn bool // only with the account

	direct string // the same registry for others' eyes: what stands before it is left out
	scheme string
	ca     []byte
	tokens *authority // whose tokens the registry believes; nil for none

	counter  *registry.Proxy // before the registry, and behind what stands before it; nil with TLS
	log      string          // the registry's own log of requests, where there is no counter
	writable string          // of one that takes nothing: the host at which it is filled; filled is called then
	filled   func(t *testing.T)
	refuses  []string // what dray says of one that takes nothing
}

// counted puts a counter before a registry.
func counted(t *testing.T, p *registry.Process) *site {
	t.Helper()
	counter, err := registry.NewProxy(p.URL, 0)
	if err != nil {
		t.Fatal(err)
	}
	return &site{host: registrytest.Start(t, counter).Host, direct: p.Host, scheme: "http", counter: counter}
}

// signIn has dray, and others, use the account.
func (s *site) signIn() *site {
	s.signedIn = true
	s.settings = strings.TrimPrefix(s.settings+", plainHTTP: true", ", ")
	return s
}

// registries are the lines of a config for this site, with a password.
func (s *site) registries(secret string) string {
	settings := s.settings
	if s.signedIn {
		settings += fmt.Sprintf(", username: %s, password: %s", username, secret)
	}
	if settings == "" {
		return ""
	}
	return fmt.Sprintf("  '%s': {%s}\n", s.host, settings)
}

// writes is how many requests have changed something at the registry.
func (s *site) writes(t *testing.T) int {
	t.Helper()
	if s.counter != nil {
		return s.counter.Count(func(r registry.Request) bool { return r.Method != http.MethodGet && r.Method != http.MethodHead })
	}
	text := read(t, s.log)
	if !strings.Contains(text, "HTTP/2.0") {
		t.Error("HTTP/2 was not spoken")
	}
	n := 0
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE"} {
		n += strings.Count(text, `"`+method+" /v2/")
	}
	return n
}

// options are those of go-containerregistry's client.
func (s *site) options() []remote.Option {
	options := []remote.Option{remote.WithTransport(s.transport())}
	if s.signedIn && s.tokens == nil {
		options = append(options, remote.WithAuth(&authn.Basic{Username: username, Password: password}))
	}
	return options
}

func (s *site) transport() http.RoundTripper {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if s.ca != nil {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(s.ca)
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	if s.tokens == nil {
		return transport
	}
	return bearing{transport, s.tokens}
}

// bearing shows a token with every request: go-containerregistry asks for none on the loopback.
type bearing struct {
	next   http.RoundTripper
	tokens *authority
}

func (b bearing) RoundTrip(r *http.Request) (*http.Response, error) {
	var all []access
	for _, repository := range []string{app, bigRepo, "team/arm", "other/app"} {
		all = append(all, access{"repository", repository, []string{"pull", "push"}})
	}
	token, err := b.tokens.token(all)
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+token)
	return b.next.RoundTrip(r)
}

// distribution is a config of the distribution project's registry: 2.8.2 and 3 read the same.
const distribution = `version: 0.1
log: {level: warn, accesslog: {disabled: false}}
storage:
  {storage}
  delete: {enabled: {delete}}
  maintenance: {uploadpurging: {enabled: false}, readonly: {enabled: {readonly}}}
http:
  addr: {host}
  secret: realworld
{more}`

// settings replace what a distribution is configured with; a zero field leaves the default.
type settings struct{ storage, delete, readonly, more string }

// start starts docker-registry or registry with its storage in a folder.
func (s settings) start(t *testing.T, program, dir string) *registry.Process {
	t.Helper()
	or := func(value, other string) string {
		if value == "" {
			return other
		}
		return value
	}
	text := strings.NewReplacer("{storage}", or(s.storage, "filesystem: {rootdirectory: '{dir}/data'}"), "{delete}", or(s.delete, "true"),
		"{readonly}", or(s.readonly, "false"), "{more}", s.more).Replace(distribution)
	return serve(t, dir, program, map[string]string{"config.yml": text}, "serve", "{dir}/config.yml")
}

// byToken is the part of a distribution's config that wants tokens.
func byToken(realm string) string {
	return fmt.Sprintf("auth: {token: {realm: '%s', service: realworld, issuer: realworld, rootcertbundle: '{dir}/ca.pem'}}\n", realm)
}

// byPassword is the part that wants the password itself.
const byPassword = "auth: {htpasswd: {realm: realworld, path: '{dir}/htpasswd'}}\n"

// passwords writes a file of passwords, by Apache's program.
func passwords(t *testing.T, dir string) {
	t.Helper()
	run(t, find(t, "htpasswd"), "-Bbc", filepath.Join(dir, "htpasswd"), username, password)
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// isBlob tells the fetch of a blob.
func isBlob(r registry.Request) bool {
	return r.Method == http.MethodGet && r.Kind == registry.KindBlob
}
