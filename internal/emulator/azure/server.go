package azure

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/draysync/dray/internal/emulator/registry"
)

// Start serves one host of the cloud in plain HTTP on a free loopback port until it is closed: the Resource Manager, Entra,
// a login server, a host outside. With "" it is the Resource Manager, Entra and the metadata service in one, told apart by
// the path. URLs in answers name the loopback port where that was asked.
func (c *Cloud) Start(host string) (*registry.Server, error) {
	return c.listen(host, (*registry.Gate).Start)
}

// StartTLS is Start with TLS; the server's CA is what clients have to trust.
func (c *Cloud) StartTLS(host string) (*registry.Server, error) {
	return c.listen(host, (*registry.Gate).StartTLS)
}

func (c *Cloud) listen(host string, start func(*registry.Gate) (*registry.Server, error)) (*registry.Server, error) {
	s, err := start(registry.NewGate(c))
	if err != nil {
		return nil, fmt.Errorf("serve %q: %w", host, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.aliases[s.Host] = host
	c.aliases[strings.Replace(s.Host, "127.0.0.1", "localhost", 1)] = host
	return s, nil
}

var _ http.Handler = (*Cloud)(nil)
