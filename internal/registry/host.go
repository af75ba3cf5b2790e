package registry

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/draysync/dray/internal/file"
	"github.com/draysync/dray/internal/image"
)

// Host is what is configured for one registry, or for a part of it.
type Host struct {
	// Username and Password sign in. Where no way to sign in is set the credential store is asked.
	Username string
	Password string
	// IdentityToken signs in by a refresh token of the registry's token server.
	IdentityToken string
	// CredentialHelper is asked for the credential: docker-credential- and this is the program.
	CredentialHelper string
	// Anonymous does not sign in.
	Anonymous bool
	// RefreshToken signs in by Options.RefreshToken, as Azure Container Registry has it.
	RefreshToken bool
	// CAFile holds certificate authorities in PEM, trusted beside the system's.
	CAFile string
	// CertFile and KeyFile hold a client certificate and its key in PEM.
	CertFile string
	KeyFile  string
	// InsecureSkipVerify accepts any certificate.
	InsecureSkipVerify bool
	// PlainHTTP speaks HTTP without TLS.
	PlainHTTP bool
	// Concurrency bounds the requests in flight, for reads and for writes each; 0 means the default.
	Concurrency int
	// Mirrors have the registry's content by digest: hosts, or host/path below which its repositories lie.
	Mirrors []string
}

// The defaults of Host.Concurrency, and how many requests are sent at once before a registry has shown what it takes. Docker
// Hub answers a burst of cold connections with 429s, so it is met with fewer.
const (
	defaultConcurrency = 16
	hubConcurrency     = 6
	startConcurrency   = 4
	hubStart           = 1
)

// limits returns the bounds of the requests in flight at a registry.
func (h Host) limits(registry string) *limits {
	start, most := startConcurrency, defaultConcurrency
	if registry == image.DockerHub {
		start, most = hubStart, hubConcurrency
	}
	if h.Concurrency > 0 {
		most = h.Concurrency
	}
	return newLimits(start, most)
}

// signsIn tells whether it is said how to sign in, so that the credential store is not asked.
func (h Host) signsIn() bool {
	return h.Username != "" || h.Password != "" || h.IdentityToken != "" || h.CredentialHelper != "" || h.Anonymous || h.RefreshToken
}

// configured tells whether anything is said on how to connect.
func (h Host) configured() bool {
	return h.PlainHTTP || h.InsecureSkipVerify || h.CAFile != "" || h.CertFile != ""
}

// roundTripper returns the base of the endpoint's transport. Bodies are never decompressed on the way: a digest is of the
// bytes as they are.
func (h Host) roundTripper(registry string) (*http.Transport, error) {
	config, err := h.tls()
	if err != nil {
		return nil, fmt.Errorf("registries.%s.tls: %w", registry, err)
	}
	connections := 2 * max(h.Concurrency, defaultConcurrency)
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:       config,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
		IdleConnTimeout:       90 * time.Second,
		MaxIdleConns:          2 * connections,
		MaxIdleConnsPerHost:   connections,
		DisableCompression:    true,
		ForceAttemptHTTP2:     true,
		WriteBufferSize:       64 << 10,
		ReadBufferSize:        64 << 10,
	}, nil
}

func (h Host) tls() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: h.InsecureSkipVerify} //nolint:gosec // asked for by name in the config
	if h.CAFile != "" {
		pem, err := file.Read(h.CAFile, maxPEM)
		if err != nil {
			return nil, fmt.Errorf("caFile: %w", err)
		}
		config.RootCAs, err = x509.SystemCertPool()
		if err != nil {
			config.RootCAs = x509.NewCertPool()
		}
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("caFile: %s holds no certificate in PEM form", h.CAFile)
		}
	}
	if h.CertFile != "" {
		cert, err := h.certificate()
		if err != nil {
			return nil, fmt.Errorf("certFile, keyFile: %w", err)
		}
		config.Certificates = []tls.Certificate{cert}
	}
	return config, nil
}

// maxPEM is the largest file of certificates that is read, in bytes.
const maxPEM = 16 << 20

// certificate is what this client shows.
func (h Host) certificate() (tls.Certificate, error) {
	cert, err := file.Read(h.CertFile, maxPEM)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := file.Read(h.KeyFile, maxPEM)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(cert, key)
}

// loopback tells whether a registry's host is this machine by its name alone.
func loopback(registry string) bool {
	host, _, err := net.SplitHostPort(registry)
	if err != nil {
		host = registry
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
