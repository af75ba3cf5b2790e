package azure

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"sync"
	"time"
)

// Proxy is an HTTP proxy on a loopback port that answers for every host of the cloud itself, under its real name. It is for
// clients in other processes: HTTPS_PROXY and HTTP_PROXY are to be URL, and CA is to be trusted.
type Proxy struct {
	URL string // http://127.0.0.1:port
	CA  []byte // PEM

	cloud     *Cloud
	authority *authority
	plain     *http.Server
	secure    *http.Server
	tunnels   *tunnels
	done      sync.WaitGroup
}

// StartProxy starts one; Close it.
func (c *Cloud) StartProxy() (*Proxy, error) {
	a, err := newAuthority()
	if err != nil {
		return nil, fmt.Errorf("make authority: %w", err)
	}
	var listen net.ListenConfig
	listener, err := listen.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start proxy: %w", err)
	}
	p := &Proxy{
		URL: "http://" + listener.Addr().String(), CA: a.pem, cloud: c, authority: a,
		tunnels: &tunnels{address: listener.Addr(), open: make(chan net.Conn), closed: make(chan struct{})},
	}
	quiet := log.New(io.Discard, "", 0) // faults make noise
	p.plain = &http.Server{Handler: p, ReadHeaderTimeout: time.Minute, ErrorLog: quiet}
	p.secure = &http.Server{Handler: c, ReadHeaderTimeout: time.Minute, ErrorLog: quiet}
	p.done.Add(2)
	go func() {
		defer p.done.Done()
		_ = p.plain.Serve(listener) // always http.ErrServerClosed, from Close
	}()
	go func() {
		defer p.done.Done()
		_ = p.secure.Serve(p.tunnels)
	}()
	return p, nil
}

// Close stops the proxy and breaks the connections there are.
func (p *Proxy) Close() {
	_ = p.plain.Close()
	_ = p.secure.Close()
	p.done.Wait()
}

// ServeHTTP opens a tunnel into the cloud, or answers a request in plain HTTP.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect {
		p.cloud.ServeHTTP(w, r)
		return
	}
	if _, _, handler := p.cloud.site(r.Host, "/"); handler == nil {
		http.Error(w, "no such host: "+r.Host, http.StatusBadGateway)
		return
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err) // HTTP/1.1 only, see NextProtos of a listener without TLS
	}
	if _, err := io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		_ = conn.Close()
		return
	}
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		setDefault(&host, hello.ServerName)
		return p.authority.certificate(host)
	}}
	select {
	case p.tunnels.open <- tls.Server(conn, config):
	case <-p.tunnels.closed:
		_ = conn.Close()
	}
}

// tunnels is a listener for connections that came in another way.
type tunnels struct {
	address net.Addr
	open    chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

// Accept implements net.Listener.
func (t *tunnels) Accept() (net.Conn, error) {
	select {
	case conn := <-t.open:
		return conn, nil
	case <-t.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (t *tunnels) Close() error {
	t.once.Do(func() { close(t.closed) })
	return nil
}

// Addr implements net.Listener.
func (t *tunnels) Addr() net.Addr { return t.address }

// authority issues certificates for any host.
type authority struct {
	pem    []byte
	parent *x509.Certificate
	key    *ecdsa.PrivateKey

	mu     sync.Mutex
	issued map[string]*tls.Certificate
}

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	parent := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "azure emulator"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, parent, parent, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	if parent, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return &authority{pem: text, parent: parent, key: key, issued: map[string]*tls.Certificate{}}, nil
}

// certificate returns that of a host, which may be an address.
func (a *authority) certificate(host string) (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if found, known := a.issued[host]; known {
		return found, nil
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(int64(len(a.issued)) + 2), Subject: pkix.Name{CommonName: "azure emulator leaf"},
		NotBefore: a.parent.NotBefore, NotAfter: a.parent.NotAfter, DNSNames: []string{host},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if address := net.ParseIP(host); address != nil {
		leaf.DNSNames, leaf.IPAddresses = nil, []net.IP{address}
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, a.parent, &a.key.PublicKey, a.key)
	if err != nil {
		return nil, err
	}
	made := &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: a.key}
	a.issued[host] = made
	return made, nil
}
