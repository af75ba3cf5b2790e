package wire

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
)

func describe(err error) string {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	return err.Error()
}

func speaksPlain(err error) bool {
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return true
	}
	return strings.Contains(err.Error(), "server gave HTTP response to HTTPS client")
}

// tlsHint says what to do about a configuration error that no retry fixes; empty for other errors.
func tlsHint(err error) string {
	if unknown, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		text := "TLS: certificate is signed by an unknown authority"
		if unknown.Cert != nil && unknown.Cert.Issuer.String() != "" {
			text += fmt.Sprintf(", %q", Clean(unknown.Cert.Issuer.String()))
		}
		return text + ": set tls.caFile"
	}
	if other, ok := errors.AsType[x509.HostnameError](err); ok {
		return otherName(other)
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		if invalid.Reason == x509.Expired && invalid.Cert != nil {
			return fmt.Sprintf("TLS: certificate is valid from %s to %s only: renew it, or correct this machine's clock",
				invalid.Cert.NotBefore.UTC().Format("2006-01-02 15:04"), invalid.Cert.NotAfter.UTC().Format("2006-01-02 15:04 MST"))
		}
		return "TLS: certificate is not valid: " + Clean(invalid.Error())
	}
	if speaksPlain(err) {
		return "it does not use TLS: set plainHTTP: true"
	}
	switch text := err.Error(); {
	case strings.Contains(text, "tls: protocol version not supported"), strings.Contains(text, "tls: server selected unsupported protocol version"):
		return "TLS: its versions are older than 1.2, which dray does not use: have it use TLS 1.2 or later"
	case strings.Contains(text, "tls: handshake failure"):
		return "TLS: it has no cipher that dray uses (ECDHE), no certificate for this name, or wants a client certificate: have it use others, or set tls.certFile and tls.keyFile"
	}
	return ""
}

// otherName names the hosts that a certificate is valid for.
func otherName(e x509.HostnameError) string {
	var names []string
	if e.Certificate != nil {
		names = append(names, e.Certificate.DNSNames...)
		for _, ip := range e.Certificate.IPAddresses {
			names = append(names, ip.String())
		}
	}
	if len(names) == 0 {
		return "TLS: certificate names no host"
	}
	more := ""
	if len(names) > 5 {
		names, more = names[:5], ", …"
	}
	return "TLS: certificate is valid for " + Clean(strings.Join(names, ", ")) + more + ", not " + Clean(e.Host)
}

// hint says what to do about a request without an answer.
func (t *Transport) hint(req *http.Request, err error) string {
	if proxy, ok := errors.AsType[*proxyError](err); ok {
		return proxy.hint()
	}
	if toProxy(err) {
		return t.proxyHint(req, err)
	}
	text := tlsHint(err)
	switch alert := certificateAlert(err); {
	case text != "":
	case alert != "" && t.certified:
		text = "it refuses the client certificate (" + alert + "): check tls.certFile, and until when it is valid"
	case alert != "":
		text = "it wants a client certificate (" + alert + "): set tls.certFile and tls.keyFile"
	case strings.Contains(err.Error(), "no such host"):
		text = "the name is not known: check its spelling"
	}
	if text != "" && req.URL.Host == t.host {
		text += " (registries." + t.name + ")"
	}
	return text
}

// certificateAlert returns what a server's TLS alert says of the client's certificate; empty for anything else (RFC 8446, 6.2).
func certificateAlert(err error) string {
	alert, ok := errors.AsType[*net.OpError](err)
	if !ok || alert.Op != "remote error" {
		return ""
	}
	text := strings.TrimPrefix(alert.Err.Error(), "tls: ")
	if !strings.Contains(text, "certificate") && text != "access denied" {
		return ""
	}
	return text
}

// full reports whether a registry is out of space, which a retry does not change. Most answer 500 with the text of ENOSPC or EDQUOT
// (errno(3)).
func full(e *Error) bool {
	message := strings.ToLower(e.Message)
	return e.Status == http.StatusInsufficientStorage ||
		e.Status == http.StatusInternalServerError && (strings.Contains(message, "no space left on device") || strings.Contains(message, "disk quota exceeded"))
}

// statusHint says what to do about a status.
func (t *Transport) statusHint(req *http.Request, e *Error) string {
	switch e.Status {
	case http.StatusForbidden:
		return "this account may not do that at " + t.name
	case http.StatusProxyAuthRequired:
		if proxy := t.through(req); proxy != nil && proxy.User != nil {
			return "the proxy at " + proxy.Host + " refuses the user and the password in HTTP_PROXY"
		} else if proxy != nil {
			return "the proxy at " + proxy.Host + " requires a sign-in: put a user and a password into HTTP_PROXY"
		}
		return "a proxy on the way requires a sign-in"
	}
	if strings.Contains(e.Message, "HTTP request to an HTTPS server") {
		return "it uses TLS: remove plainHTTP from registries." + t.name
	}
	return ""
}
