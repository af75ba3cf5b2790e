package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/draysync/dray/internal/image"
)

// Server says where `dray run` listens.
type Server struct {
	// Listen is host:port, with an empty host for all addresses and port 0 for any free port; or "unix:" and an absolute path; or empty to
	// not listen.
	Listen string
	// Token is the token that a request must send to change something; empty if none is required.
	Token Secret
	// Registry is the registry over layouts; nil for none.
	Registry *Served
}

// Served is a read-only registry over OCI image layouts.
type Served struct {
	// Listen is as [Server.Listen], but never empty.
	Listen  string
	Layouts []ServedLayout
	// Mirrors has the prefix of a registry's repositories by its canonical host; empty for none.
	Mirrors           map[string]string
	CertFile, KeyFile string
	Users             string
	PlainHTTP         bool
}

// ServedLayout is a layout, or a folder with layouts below it, and the name to serve it under; empty for the usual one.
type ServedLayout struct{ Name, Path string }

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
	return Server{Listen: s.Listen.value, Token: Secret(s.Token.value), Registry: b.served(s.Registry)}
}

func (b *builder) served(s servedSection) *Served {
	if !s.set {
		return nil
	}
	preset(reflect.ValueOf(&s).Elem())
	if err := checkAddress(s.Listen.value, ", or unix: and an absolute path"); err != nil {
		b.invalid(s.Listen, err, "host:port, or unix: and an absolute path")
	}
	served := &Served{
		Listen: s.Listen.value, Mirrors: map[string]string{}, CertFile: b.path(s.CertFile), KeyFile: b.path(s.KeyFile), Users: b.path(s.HTPasswd),
		PlainHTTP: s.PlainHTTP.value,
	}
	for _, t := range s.Layouts.items {
		l := ParseServedLayout(t.value)
		t.value = l.Path
		l.Path = b.path(t)
		served.Layouts = append(served.Layouts, l)
	}
	for _, t := range s.MirrorOf.items {
		host, prefix, err := ParseMirrorOf(t.value)
		if err != nil {
			b.invalid(t, err, "HOST=PREFIX")
			continue
		}
		served.Mirrors[host] = prefix
	}
	return served
}

// ParseServedLayout reads PATH or NAME=PATH.
func ParseServedLayout(s string) ServedLayout {
	name, path, named := strings.Cut(s, "=")
	if !named || !image.ValidPath(name) {
		name, path = "", s
	}
	return ServedLayout{name, strings.TrimPrefix(path, image.LayoutScheme)}
}

// ParseMirrorOf reads HOST=PREFIX, and returns the canonical host.
func ParseMirrorOf(s string) (host, prefix string, err error) {
	name, prefix, ok := strings.Cut(s, "=")
	host, err = image.CanonicalHost(name)
	if err != nil || !ok || prefix != "" && !image.ValidPath(prefix) {
		return "", "", fmt.Errorf("%s is not HOST=PREFIX: write a registry and a repository's path, such as docker.io=hub, or docker.io= for no prefix", quote(s))
	}
	return host, prefix, nil
}

// checkListen accepts an address, or "" for none.
func checkListen(s string) error {
	if s == "" {
		return nil
	}
	return checkAddress(s, `, unix: and an absolute path, or "" for none`)
}

// checkAddress accepts an address. Others is what may be written besides host:port.
func checkAddress(s, others string) error {
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
		return fmt.Errorf("%s is not an address: write host:port such as 127.0.0.1:8484%s", quote(s), others)
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
