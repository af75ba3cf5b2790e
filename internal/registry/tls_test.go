package registry

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/image"
)

// listen starts a registry on a socket of the loopback.
func listen(t *testing.T, behaviour emulator.Options, secure bool) (*emulator.Registry, *emulator.Server) {
	t.Helper()
	r := emulator.New(behaviour)
	start := r.Start
	if secure {
		start = r.StartTLS
	}
	server, err := start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return r, server
}

// dials counts the requests that reach the wire.
type dials struct {
	http.RoundTripper
	n *atomic.Int64
}

func (d dials) RoundTrip(q *http.Request) (*http.Response, error) {
	d.n.Add(1)
	return d.RoundTripper.RoundTrip(q)
}

// TestConnections is over sockets: what TLS makes of each set-up, and what a person is told.
func TestConnections(t *testing.T) {
	plain, plainServer := listen(t, emulator.Options{}, false)
	secure, secureServer := listen(t, emulator.Options{}, true)
	i := push(t, plain, "app", "1")
	push(t, secure, "app", "1")
	ca, windows := filepath.Join(t.TempDir(), "ca.pem"), filepath.Join(t.TempDir(), "ca.pem")
	_, another := listen(t, emulator.Options{}, true)
	if err := errors.Join(os.WriteFile(ca, secureServer.CA, 0o600), os.WriteFile(windows, slices.Concat([]byte("\ufeff"), secureServer.CA, another.CA), 0o600)); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name   string
		server *emulator.Server
		host   Host
		hint   string // of the error; empty for success
	}{
		{"loopback without TLS, nothing configured", plainServer, Host{}, ""},
		{"loopback without TLS, only a concurrency", plainServer, Host{Concurrency: 1}, ""},
		{"plainHTTP", plainServer, Host{PlainHTTP: true}, ""},
		{"a CA file where there is no TLS", plainServer, Host{CAFile: ca}, "it does not use TLS: set plainHTTP: true"},
		{"a CA file", secureServer, Host{CAFile: ca}, ""},
		{"CA certificates that Windows has written", secureServer, Host{CAFile: windows}, ""},
		{"any certificate", secureServer, Host{InsecureSkipVerify: true}, ""},
		{"an unknown authority", secureServer, Host{}, `signed by an unknown authority, "CN=registry emulator": set tls.caFile`},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			var sent atomic.Int64
			host := test.server.Host
			c, err := New(Options{
				Hosts: map[string]Host{host: test.host},
				Wrap:  func(_ string, next http.RoundTripper) http.RoundTripper { return dials{next, &sent} },
			})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			ref := image.Repository{Registry: host, Path: "app"}.Tag("1")
			head, err := c.Head(t.Context(), ref)
			if test.hint == "" {
				if err != nil || string(head.Digest) != i.Digest {
					t.Fatalf("Head = %v, %v", head, err)
				}
				data, opened := []byte("a first upload"), 0
				if _, err := c.PutBlob(t.Context(), ref.Repository, content(data), image.Repository{}, source(data, &opened), nil); err != nil {
					t.Errorf("PutBlob: %v", err)
				}
				return
			}
			e := failure(t, err)
			contains(t, err.Error(), test.hint, "registries."+host)
			if e.Temporary() || e.Attempts != 1 || sent.Load() != 1 {
				t.Errorf("temporary %v, %d attempts, %d requests: no retry fixes a certificate", e.Temporary(), e.Attempts, sent.Load())
			}
		})
	}
}

// TestPlainLoopbackWithTokens: the realm of a registry without TLS is without TLS.
func TestPlainLoopbackWithTokens(t *testing.T) {
	auth := &emulator.Auth{Users: map[string]string{"ann": "secret"}}
	r, server := listen(t, emulator.Options{Auth: auth}, false)
	i := push(t, r, "app", "1")
	for name, plain := range map[string]bool{"plainHTTP": true, "found out": false} {
		t.Run(name, func(t *testing.T) {
			c, err := New(Options{Hosts: map[string]Host{server.Host: {PlainHTTP: plain}}, Keychain: signed(server.Host, "ann", "secret")})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			head, err := c.Head(t.Context(), image.Repository{Registry: server.Host, Path: "app"}.Tag("1"))
			if err != nil || string(head.Digest) != i.Digest {
				t.Errorf("Head = %v, %v", head, err)
			}
		})
	}
}

func TestBrokenTLSFiles(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		host Host
		want string
	}{
		"a pipe as CA file":  {Host{CAFile: pipe}, "not a regular file"},
		"a pipe as a key":    {Host{CertFile: empty, KeyFile: pipe}, "not a regular file"},
		"no CA file":         {Host{CAFile: "/none/ca.pem"}, "caFile: open /none/ca.pem"},
		"an empty CA file":   {Host{CAFile: empty}, "holds no certificate in PEM form"},
		"a broken key pair":  {Host{CertFile: empty, KeyFile: empty}, "certFile, keyFile:"},
		"no client key pair": {Host{CertFile: "/none/c.pem", KeyFile: "/none/k.pem"}, "certFile, keyFile: open /none/c.pem"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(Options{Hosts: map[string]Host{"a.example": test.host}})
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "registries.a.example.tls") {
				t.Errorf("error = %v", err)
			}
		})
	}
}

// TestUnknownName: DNS says that there is no such host; a retry would not help.
func TestUnknownName(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := client(t, emulator.Network{}, Options{})
		var err error
		took := elapsed(func() { _, err = c.Tags(t.Context(), at("app"), everything) })
		if e := failure(t, err); e.Temporary() || took != 0 || e.Code() != "unreachable" {
			t.Errorf("%+v after %v", e, took)
		}
		contains(t, err.Error(), "GET tag list: "+home+" gave no answer", "check its spelling (registries."+home+")")
	})
}
