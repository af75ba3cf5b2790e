package dial

import (
	"net"
	"time"
)

// socksTimeout is how long a SOCKS proxy may take to connect. It is as long as net/http waits for the answer to CONNECT.
const socksTimeout = time.Minute

// socks is a connection to a SOCKS proxy. net/http waits without a limit for what such a proxy answers, also when the request has been given up, and holds
// the connection open.
type socks struct {
	net.Conn
	done bool
}

func limited(conn net.Conn) net.Conn {
	_ = conn.SetDeadline(time.Now().Add(socksTimeout)) // one that fails is that of a connection that has failed
	return &socks{Conn: conn}
}

// The first bytes of a client's messages to a SOCKS proxy (RFC 1928, section 3; RFC 1929, section 2). TLS and HTTP begin with others.
const (
	version5     = 0x05
	passwordSent = 0x01
)

// Write ends the limit with the first bytes that are not for the proxy.
func (s *socks) Write(p []byte) (int, error) {
	if !s.done && len(p) > 0 && p[0] != version5 && p[0] != passwordSent {
		s.done = true
		_ = s.SetDeadline(time.Time{})
	}
	return s.Conn.Write(p)
}
