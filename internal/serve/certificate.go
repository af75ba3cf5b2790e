package serve

import (
	"crypto/tls"
	"fmt"
)

// Certificate is a certificate and its key in files, which are read for each connection. While they cannot be used together, as between two
// renewals, the last that could be stays in effect.
type Certificate struct{ files *followed[*tls.Certificate] }

// LoadCertificate reads a certificate with its chain and its key, in PEM. Warn is told when a change of the files cannot be used, and of each reason once.
func LoadCertificate(certFile, keyFile string, warn func(path string, err error)) (*Certificate, error) {
	files, err := follow(func(contents [][]byte) (*tls.Certificate, error) {
		pair, err := tls.X509KeyPair(contents[0], contents[1])
		if err != nil {
			return nil, fmt.Errorf("%s with key %s: %w", certFile, keyFile, err)
		}
		return &pair, nil
	}, warn, certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return &Certificate{files}, nil
}

// get is [tls.Config.GetCertificate].
func (c *Certificate) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.files.get(hello.Context()), nil
}
