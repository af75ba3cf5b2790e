package wire

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/draysync/dray/internal/file"
)

// Host says how to connect to one registry.
type Host struct {
	// CAFile holds certificate authorities in PEM, trusted in addition to the system's.
	CAFile string
	// CertFile and KeyFile hold a client certificate and its key in PEM.
	CertFile string
	KeyFile  string
	// InsecureSkipVerify accepts any certificate.
	InsecureSkipVerify bool
	// PlainHTTP uses HTTP without TLS.
	PlainHTTP bool
	// Concurrency limits the requests in flight, for reads and writes each, of all processes together that share it; 0 means the default, for each
	// process.
	Concurrency int
}

// configured reports whether any option is set.
func (h Host) configured() bool {
	return h.PlainHTTP || h.InsecureSkipVerify || h.CAFile != "" || h.CertFile != ""
}

// transport returns what sends single requests. It never decompresses bodies: a digest covers the bytes as sent.
func (h Host) transport(d *dialer, most int) (*http.Transport, error) {
	config, err := h.tls()
	if err != nil {
		return nil, err
	}
	connections := 2 * max(h.Concurrency, most)
	return &http.Transport{
		Proxy:                  d.proxy,
		OnProxyConnectResponse: proxyAnswer,
		DialContext:            d.dial,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    10 * time.Second,
		ExpectContinueTimeout:  time.Second,
		IdleConnTimeout:        90 * time.Second,
		MaxIdleConns:           2 * connections,
		MaxIdleConnsPerHost:    connections,
		MaxResponseHeaderBytes: 1 << 20,
		DisableCompression:     true,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter}, // otherwise all attempts would use one dead connection
		WriteBufferSize:        64 << 10,
		ReadBufferSize:         64 << 10,
	}, nil
}

// pingAfter is how long a shared connection may be silent before a ping must prove it alive.
const pingAfter = 15 * time.Second

func (h Host) tls() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: h.InsecureSkipVerify} //nolint:gosec // asked for by name in the config
	if h.CAFile != "" {
		pem, err := file.ReadText(h.CAFile, maxPEM)
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

// maxPEM is the size limit of certificate files, in bytes.
const maxPEM = 16 << 20

// certificate returns the client certificate.
func (h Host) certificate() (tls.Certificate, error) {
	cert, err := file.ReadText(h.CertFile, maxPEM)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := file.ReadText(h.KeyFile, maxPEM)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(cert, key)
}

// Loopback reports whether a host is this machine, by its name alone.
func Loopback(host string) bool {
	ip := addressOf(host)
	return hostname(host) == "localhost" || ip != nil && ip.IsLoopback()
}

func hostname(host string) string {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	return strings.Trim(name, "[]")
}

// bare normalizes a host: lower case, no trailing dot, no default port.
func bare(scheme, host string) string {
	name, port := strings.ToLower(strings.TrimSuffix(hostname(host), ".")), ""
	if _, digits, err := net.SplitHostPort(host); err == nil {
		port = strings.TrimLeft(digits, "0")
	}
	if ip := net.ParseIP(name); ip != nil {
		name = ip.String()
	}
	if port == "" || port == "80" && scheme == "http" || port == "443" && scheme == "https" {
		return name
	}
	return net.JoinHostPort(name, port)
}

func addressOf(host string) net.IP {
	name, _, _ := strings.Cut(hostname(host), "%") // the zone of a link-local address
	return net.ParseIP(name)
}
