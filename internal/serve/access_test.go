package serve

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// issue returns a certificate with a serial number and its key, in PEM.
func issue(t *testing.T, serial int64) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, about, about, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
}

// warnings are what a file's owner was told.
type warnings struct {
	mu    sync.Mutex
	texts []string
}

func (w *warnings) warn(path string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.texts = append(w.texts, path+": "+err.Error())
}

// TestCertificate: a renewed certificate is shown at the next connection, and one that is renewed halfway is not.
func TestCertificate(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	write := func(path string, content []byte) { t.Helper(); replace(t, path, content) }
	cert, key := issue(t, 1)
	write(certFile, cert)
	if _, err := LoadCertificate(certFile, keyFile, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a key: %v", err)
	}
	write(keyFile, key)
	told := &warnings{}
	certificate, err := LoadCertificate(certFile, keyFile, told.warn)
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(t, Options{Certificate: certificate})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(listener) }()
	t.Cleanup(func() {
		if err := errors.Join(s.Shutdown(t.Context()), <-ended); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	serial := func() int64 {
		t.Helper()
		conn, err := tls.Dial("tcp", listener.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}) //nolint:gosec // looks at what is shown
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if conn.ConnectionState().NegotiatedProtocol != "h2" {
			t.Error("no HTTP/2")
		}
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	if got := serial(); got != 1 {
		t.Errorf("serial %d", got)
	}
	cert, key = issue(t, 2)
	write(certFile, cert)
	if got := serial(); got != 1 {
		t.Errorf("renewed halfway: serial %d", got)
	}
	if got := serial(); got != 1 || len(told.texts) != 1 {
		t.Errorf("renewed halfway: serial %d, %q", got, told.texts)
	}
	write(keyFile, key)
	if got := serial(); got != 2 {
		t.Errorf("renewed: serial %d", got)
	}
	if err := os.Remove(keyFile); err != nil {
		t.Fatal(err)
	}
	if got := serial(); got != 2 || len(told.texts) != 2 {
		t.Errorf("key removed: serial %d, %q", got, told.texts)
	}
}

// TestUsers: who may pull follows the file.
func TestUsers(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "users")
	line := func(name, password string) string {
		hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		return name + ":" + strings.Replace(string(hash), "$2a$", "$2y$", 1) + "\n"
	}
	for content, want := range map[string]string{
		"": "names nobody", "# nobody\n": "names nobody", "ann:{SHA}xyz\n": "users:1 is not NAME:HASH", line("", "x"): "users:1 is not NAME:HASH",
		line("ann", "x") + "bob\n": "users:2 is not NAME:HASH", "ann:" + strings.Replace(line("", "x"), "$04$", "$15$", 1)[1:]: "users:1 is not NAME:HASH",
	} {
		replace(t, path, []byte(content))
		if _, err := LoadUsers(path, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", content, err)
		}
	}
	replace(t, path, []byte("\ufeff"+line("ann", "old")+line("bob", "b:o b")))
	told := &warnings{}
	users, err := LoadUsers(path, told.warn)
	if err != nil {
		t.Fatal(err)
	}
	url := listening(t, Options{Layouts: []Layout{{Path: dir}}, Users: users})
	status := func(credential string) int {
		t.Helper()
		address := url
		if credential != "" {
			address = strings.Replace(url, "//", "//"+credential+"@", 1)
		}
		r, body := get(t, address+"/v2/")
		if want := r.StatusCode == 401; want != (r.Header.Get("WWW-Authenticate") == `Basic realm="dray", charset="UTF-8"`) || want != strings.Contains(body, "UNAUTHORIZED") {
			t.Errorf("%d, %v, %s", r.StatusCode, r.Header, body)
		}
		return r.StatusCode
	}
	check := func(state string, want map[string]int) {
		t.Helper()
		for credential, want := range want {
			for range 2 { // also the second time, when it is known
				if got := status(credential); got != want {
					t.Errorf("%s: %q: %d, want %d", state, credential, got, want)
				}
			}
		}
	}
	check("at first", map[string]int{"": 401, "ann:old": 200, "ann:new": 401, "ann:": 401, "bob:b%3Ao%20b": 200, "cat:old": 401, ":": 401})
	replace(t, path, []byte(line("ann", "new")))
	check("changed", map[string]int{"ann:old": 401, "ann:new": 200, "bob:b%3Ao%20b": 401})
	replace(t, path, []byte("ann"))
	check("damaged", map[string]int{"ann:old": 401, "ann:new": 200})
	if len(told.texts) != 1 {
		t.Errorf("%q", told.texts)
	}
	if r, _ := get(t, url+"/healthz"); r.StatusCode != 200 {
		t.Errorf("health: %d", r.StatusCode)
	}
}
