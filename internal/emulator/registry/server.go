package registry

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
	"time"
)

// Server is a handler that listens on a loopback port.
type Server struct {
	Host string // host:port
	URL  string // scheme://host:port, without a slash at the end
	CA   []byte // PEM of the authority that signed the certificate; nil without TLS
	http *http.Server
	done chan struct{}
}

// Start listens on a free port of 127.0.0.1, in plain HTTP, until Close.
func (g *Gate) Start() (*Server, error) { return serve(g, nil, nil) }

// StartTLS listens as Start does, with a certificate for 127.0.0.1 and localhost from an authority made for it.
func (g *Gate) StartTLS() (*Server, error) {
	certificate, ca, err := issue()
	if err != nil {
		return nil, fmt.Errorf("issue certificate: %w", err)
	}
	return serve(g, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}, ca)
}

func serve(handler http.Handler, config *tls.Config, ca []byte) (*Server, error) {
	var listen net.ListenConfig
	listener, err := listen.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start registry: %w", err)
	}
	s := &Server{Host: listener.Addr().String(), CA: ca, done: make(chan struct{})}
	s.URL = "http://" + s.Host
	s.http = &http.Server{
		Handler:           handler,
		TLSConfig:         config,
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          log.New(io.Discard, "", 0), // faults make noise
	}
	run := func() error { return s.http.Serve(listener) }
	if config != nil {
		s.URL = "https://" + s.Host
		run = func() error { return s.http.ServeTLS(listener, "", "") }
	}
	go func() {
		defer close(s.done)
		_ = run() // always http.ErrServerClosed, from Close
	}()
	return s, nil
}

// Close stops listening and breaks the connections there are.
func (s *Server) Close() {
	_ = s.http.Close()
	<-s.done
}

// issue makes an authority and a certificate of it for the loopback.
func issue() (certificate tls.Certificate, ca []byte, err error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return certificate, nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return certificate, nil, err
	}
	now := time.Now()
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "registry emulator"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: authority.NotBefore, NotAfter: authority.NotAfter,
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	caDER, err := x509.CreateCertificate(rand.Reader, authority, authority, &caKey.PublicKey, caKey)
	if err != nil {
		return certificate, nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, authority, &key.PublicKey, caKey)
	if err != nil {
		return certificate, nil, err
	}
	certificate = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	return certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}), nil
}
