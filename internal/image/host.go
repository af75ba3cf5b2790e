package image

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

const (
	// DockerHub is the canonical name of Docker Hub's registry.
	DockerHub = "docker.io"
	// hubSite is Docker Hub's web site. It does not serve the distribution API.
	hubSite = "hub.docker.com"

	defaultPort = 443
)

var (
	// hostName is the grammar of RFC 952 and RFC 1123, in lower case.
	hostName = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*$`)
	// numberLast is a name whose last part is a number. Resolvers take such a name for an address, each in its own way.
	numberLast = regexp.MustCompile(`(?:^|\.)(?:[0-9]+|0x[0-9a-f]*)$`)
)

// CanonicalHost returns the one name of a registry's host: two spellings have one name if they lead to the same connection. It is in lower
// case and in ASCII, without a trailing dot, without the port 443 and without leading zeros in a port; an address has the form of RFC 5952;
// all names of Docker Hub become docker.io. A name of one part other than localhost keeps its port, even 443, since without one no
// reference can name it.
func CanonicalHost(s string) (string, error) {
	if strings.Contains(s, "@") {
		return "", ErrUserinfo
	}
	name, port, err := cutPort(s)
	if err != nil {
		return "", err
	}
	if name, err = canonicalName(s, name); err != nil {
		return "", err
	}
	if port == defaultPort && isHost(name) {
		return oneName(name)
	}
	return name + ":" + strconv.Itoa(port), nil
}

// oneName returns docker.io for the names of Docker Hub, and other names unchanged.
func oneName(name string) (string, error) {
	switch name {
	case "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com":
		return DockerHub, nil
	case hubSite:
		return "", fmt.Errorf("%s is Docker Hub's web site, and not its registry: write %s", hubSite, DockerHub)
	}
	return name, nil
}

// cutPort splits the port off a host; the default is that of HTTPS.
func cutPort(s string) (name string, port int, err error) {
	name, digits, found := strings.Cut(s, ":")
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']') + 1
		name, digits, found = s[:end], strings.TrimPrefix(s[end:], ":"), end < len(s)
		if found && s[end] != ':' {
			return "", 0, notHost(s)
		}
	}
	if !found {
		return name, defaultPort, nil
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return "", 0, fmt.Errorf("%q is not a registry's host: write [%s], as an IPv6 address stands in brackets", s, s)
	}
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return "", 0, notHost(s)
	}
	if port, err = strconv.Atoi(digits); err != nil || port < 1 || port > 65535 {
		return "", 0, fmt.Errorf("%q is not a registry's host: its port is to be one from 1 to 65535", s)
	}
	return name, port, nil
}

// canonicalName returns the canonical spelling of a name or an address; s is the text that contains it.
func canonicalName(s, name string) (string, error) {
	if inner, ok := strings.CutPrefix(name, "["); ok {
		addr, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		switch {
		case err != nil || addr.Zone() != "" || addr.Is4():
			return "", fmt.Errorf("%q is not a registry's host: in brackets stands an IPv6 address without a zone", s)
		case addr.Is4In6():
			return addr.Unmap().String(), nil
		}
		return "[" + addr.String() + "]", nil
	}
	name, err := asciiName(name)
	if name = strings.TrimSuffix(name, "."); err != nil || !hostName.MatchString(name) {
		return "", notHost(s)
	}
	if _, err := netip.ParseAddr(name); err != nil && numberLast.MatchString(name) {
		return "", fmt.Errorf("%q is not a registry's host: it ends in a number, and is no IPv4 address in four parts without zeros before them", s)
	}
	return name, nil
}

// asciiName returns the DNS form of an international name.
func asciiName(name string) (string, error) {
	if !utf8.ValidString(name) { // IDNA takes each such byte for a letter
		return "", errors.New("is not UTF-8")
	}
	for i := range len(name) {
		if name[i] >= utf8.RuneSelf {
			return idna.Lookup.ToASCII(name)
		}
	}
	return strings.ToLower(name), nil
}

func notHost(s string) error {
	return fmt.Errorf("%q is not a registry's host: write host or host:port, without scheme and path", s)
}

// isHost distinguishes a host from the first part of a Docker Hub path, by Docker's rule, except that "Acme/tool" is a misspelt path here
// and not a tool at the host "acme".
func isHost(s string) bool {
	return strings.EqualFold(s, "localhost") || strings.ContainsAny(s, ".:")
}
