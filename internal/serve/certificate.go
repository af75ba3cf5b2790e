package serve

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"sync"

	"github.com/draysync/dray/internal/file"
)

// maxSecret is the most bytes of a file with a certificate, a key or users.
const maxSecret = 1 << 20

// Certificate is a certificate and its key in files, which are read for each connection. While they cannot be used together, as between two
// renewals, the last that could be stays in effect.
type Certificate struct {
	certFile, keyFile string
	warn              func(path string, err error)

	mu         sync.Mutex
	cert, key  []byte
	last       *tls.Certificate
	lastFailed error
}

// LoadCertificate reads a certificate with its chain and its key, in PEM. Warn is told when a change of the files cannot be used, and of each reason once.
func LoadCertificate(certFile, keyFile string, warn func(path string, err error)) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile, warn: warn}
	if err := c.read(); err != nil {
		return nil, err
	}
	return c, nil
}

// get is [tls.Config.GetCertificate].
func (c *Certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.read()
	if err != nil && (c.lastFailed == nil || c.lastFailed.Error() != err.Error()) {
		c.warn(c.certFile, err)
	}
	c.lastFailed = err
	return c.last, nil
}

// read takes the files if they have changed.
func (c *Certificate) read() error {
	cert, err := file.Read(c.certFile, maxSecret)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	key, err := file.Read(c.keyFile, maxSecret)
	if err != nil {
		return fmt.Errorf("key of the certificate: %w", err)
	}
	if bytes.Equal(cert, c.cert) && bytes.Equal(key, c.key) {
		return nil
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("certificate %s with key %s: %w", c.certFile, c.keyFile, err)
	}
	c.cert, c.key, c.last = cert, key, &pair
	return nil
}
