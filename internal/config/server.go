package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// Server says where `dray run` listens.
type Server struct {
	// Listen is host:port, with an empty host for all addresses and port 0 for any free port; or "unix:" and an absolute path; or empty to
	// not listen.
	Listen string
	// Token is the token that a request must send to change something; empty if none is required.
	Token Secret
}

const (
	minToken = 16
	maxToken = 512
	// maxSocket is the longest socket path that every system accepts, in bytes.
	maxSocket = 103
)

var (
	tokenText = regexp.MustCompile(`^[!-~]+$`)
	hostName  = regexp.MustCompile(`^` + hostLabel + `(?:\.` + hostLabel + `)*$`)
)

const hostLabel = `[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?`

func (b *builder) server(s serverSection) Server {
	if err := checkListen(s.Listen.value); err != nil {
		b.invalid(s.Listen, err, "host:port, or unix: and an absolute path")
	}
	if s.Token.set {
		if err := checkToken(s.Token.value); err != nil {
			b.invalid(s.Token, err, fmt.Sprintf("a token of %d to %d letters, digits and punctuation", minToken, maxToken))
		}
	}
	return Server{Listen: s.Listen.value, Token: Secret(s.Token.value)}
}

// checkListen accepts an address, or "" for none.
func checkListen(s string) error {
	if s == "" {
		return nil
	}
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		switch {
		case !filepath.IsAbs(path) || strings.HasSuffix(path, "/"):
			return fmt.Errorf("%s names no socket: write unix: and its absolute path, such as unix:/run/dray/dray.sock", quote(s))
		case len(path) > maxSocket:
			return fmt.Errorf("%s is a path of %d bytes, but a socket's path has at most %d", quote(s), len(path), maxSocket)
		}
		return nil
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil || !isHost(host) {
		return fmt.Errorf(`%s is not an address: write host:port such as 127.0.0.1:8484, unix: and an absolute path, or "" for none`, quote(s))
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return fmt.Errorf("%s has no port from 0 to 65535", quote(s))
	}
	return nil
}

// isHost accepts a name, an address, or "" for all addresses.
func isHost(s string) bool {
	if s == "" || hostName.MatchString(s) {
		return true
	}
	address, err := netip.ParseAddr(s)
	return err == nil && address.Zone() == "" || err == nil && hostName.MatchString(address.Zone())
}

// checkToken returns errors that do not reveal the token.
func checkToken(s string) error {
	switch {
	case !tokenText.MatchString(s):
		return errors.New("is not a token: only letters, digits and punctuation of ASCII can be in one, without spaces")
	case len(s) < minToken:
		return fmt.Errorf("is too short to be safe: write at least %d characters; openssl rand -hex 32 makes some", minToken)
	case len(s) > maxToken:
		return fmt.Errorf("is too long: write at most %d characters", maxToken)
	}
	return nil
}
