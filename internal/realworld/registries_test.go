package realworld

import (
	"fmt"
	"net/http"
	"path/filepath"
	"testing"
)

// entry is one registry of the matrix.
type entry struct {
	name  string
	start func(t *testing.T) *site
	// few is set where a counterpart is so slow that fewer images do.
	few bool
}

func entries() []entry {
	plain := func(program string, s settings) func(*testing.T) *site {
		return func(t *testing.T) *site { return counted(t, s.start(t, program, folder(t))) }
	}
	return []entry{
		{name: "docker-registry 2.8.2", start: plain("docker-registry", settings{})},
		{name: "docker-registry 2.8.2, token", start: withTokens("docker-registry")},
		{name: "docker-registry 2.8.2, htpasswd", start: withPasswords},
		{name: "docker-registry 2.8.2, no delete", start: plain("docker-registry", settings{delete: "false"})},
		{name: "docker-registry 2.8.2, read-only", start: readOnly},
		{name: "docker-registry 2.8.2, pull-through", start: pullThrough},
		{name: "distribution 3.1.2, token", start: withTokens("registry")},
		{name: "distribution 3.1.2, TLS and HTTP/2", start: overTLS},
		{name: "distribution 3.1.2, platforms: none", start: plain("registry", settings{more: "validation: {manifests: {indexes: {platforms: none}}}\n"})},
		{name: "distribution 3.1.2, S3 with redirects", start: onS3, few: true},
		{name: "olareg 0.2.2", start: olareg},
		{name: "zot 1.4.3", start: zot, few: true},
	}
}

// withTokens wants a token for everything.
func withTokens(program string) func(*testing.T) *site {
	return func(t *testing.T) *site {
		dir := folder(t)
		a := newAuthority(t)
		a.write(t, dir)
		s := counted(t, settings{more: byToken(tokenServer(t, a, ""))}.start(t, program, dir)).signIn()
		s.tokens = a
		return s
	}
}

// withPasswords wants the password for everything.
func withPasswords(t *testing.T) *site {
	dir := folder(t)
	passwords(t, dir)
	return counted(t, settings{more: byPassword}.start(t, "docker-registry", dir)).signIn()
}

// readOnly is filled before it is told to take nothing.
func readOnly(t *testing.T) *site {
	dir := folder(t)
	first := settings{}.start(t, "docker-registry", dir)
	s := &site{scheme: "http", writable: first.Host, refuses: []string{"405"}}
	s.filled = func(t *testing.T) {
		first.Stop()
		now := counted(t, settings{readonly: "true"}.start(t, "docker-registry", dir))
		s.host, s.direct, s.counter = now.host, now.direct, now.counter
	}
	return s
}

// pullThrough is a cache before another registry, which is filled.
func pullThrough(t *testing.T) *site {
	behind := settings{}.start(t, "docker-registry", folder(t))
	s := counted(t, settings{more: "proxy: {remoteurl: '" + behind.URL + "'}\n"}.start(t, "docker-registry", folder(t)))
	s.writable, s.filled, s.refuses = behind.Host, func(*testing.T) {}, []string{"405"}
	return s
}

// overTLS speaks HTTP/2, as Go's server does with TLS, and wants tokens.
func overTLS(t *testing.T) *site {
	dir := folder(t)
	a := newAuthority(t)
	a.write(t, dir)
	s := withTLS(t, dir, byToken(tokenServer(t, a, dir)))
	s.tokens = a
	return s
}

// withTLS starts a registry with the certificate of a folder, and a way to sign in.
func withTLS(t *testing.T, dir, auth string) *site {
	t.Helper()
	more := "  tls: {certificate: '{dir}/host.pem', key: '{dir}/host.key'}\n" + auth
	host := settings{more: more}.start(t, "registry", dir).Host
	return &site{
		host: host, direct: host, scheme: "https", ca: []byte(read(t, filepath.Join(dir, "ca.pem"))), signedIn: true, log: filepath.Join(dir, "registry.log"),
		settings: fmt.Sprintf("tls: {caFile: '%s/ca.pem'}", dir),
	}
}

// onS3 keeps blobs in a store of moto's, and sends clients there.
func onS3(t *testing.T) *site {
	store := serve(t, folder(t), "moto_server", nil, "-H", "127.0.0.1", "-p", "{port}")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, store.URL+"/images", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	s3 := fmt.Sprintf("s3: {accesskey: a, secretkey: b, region: us-east-1, regionendpoint: '%s', forcepathstyle: true, secure: false, bucket: images}", store.URL)
	return counted(t, settings{storage: s3}.start(t, "registry", folder(t)))
}

func olareg(t *testing.T) *site {
	dir := folder(t)
	return counted(t, serve(t, dir, "olareg", nil, "serve", "--addr", "127.0.0.1", "--port", "{port}", "--dir", "{dir}", "--api-delete"))
}

func zot(t *testing.T) *site {
	dir := folder(t)
	passwords(t, dir)
	const config = `{"storage": {"rootDirectory": "{dir}/data"}, "log": {"level": "warn"},
"http": {"address": "127.0.0.1", "port": "{port}", "auth": {"htpasswd": {"path": "{dir}/htpasswd"}, "failDelay": 1}}}`
	return counted(t, serve(t, dir, "zot", map[string]string{"config.json": config}, "serve", "{dir}/config.json")).signIn()
}
