package wire

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestClientCertificate: a server that refuses the client's certificate is not asked again, and the error says what to set.
func TestClientCertificate(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, MaxVersion: tls.VersionTLS12} // later versions refuse after the handshake
	server.StartTLS()
	defer server.Close()
	host := server.Listener.Addr().String()
	carrier, err := New(Options{Name: host, API: host, Start: 1, Most: 1, Host: Host{InsecureSkipVerify: true}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for _, with := range []bool{false, true} {
		want := "or wants a client certificate: have it use others, or set tls.certFile and tls.keyFile (registries." + host + ")"
		if with {
			base := carrier.base.(*versions).newest //nolint:forcetypeassert // it is one
			base.TLSClientConfig.Certificates, carrier.certified = server.TLS.Certificates, true
			want = "check tls.certFile, and until when it is valid (registries." + host + ")"
		}
		err := reach(t, carrier, host)
		if e, ok := errors.AsType[*Error](err); !ok || e.Attempts != 1 || e.Temporary() || !strings.Contains(e.Error(), want) {
			t.Errorf("error = %v\nwant %s", err, want)
		}
	}
	for alert, want := range map[string]string{
		"tls: certificate required": "certificate required", "tls: expired certificate": "expired certificate", "tls: access denied": "access denied",
		"tls: handshake failure": "", "tls: protocol version not supported": "",
	} {
		if got := certificateAlert(&net.OpError{Op: "remote error", Err: errors.New(alert)}); got != want {
			t.Errorf("%s: %q", alert, got)
		}
	}
	if got := certificateAlert(&net.OpError{Op: "read", Err: errors.New("tls: bad certificate")}); got != "" {
		t.Errorf("of this side: %q", got)
	}
}

// TestOldTLS: a server whose TLS has nothing in common with dray's is not asked again, and the error says why.
func TestOldTLS(t *testing.T) {
	for want, config := range map[string]*tls.Config{
		"TLS: its versions are older than 1.2":                                           {MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11},
		"TLS: it has no cipher that dray uses (ECDHE), no certificate for this name, or": {MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}}, //nolint:gosec // a test
	} {
		server := httptest.NewUnstartedServer(http.NotFoundHandler())
		server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
		server.TLS = config
		server.StartTLS()
		host := server.Listener.Addr().String()
		carrier, err := New(Options{Name: host, API: host, Start: 1, Most: 1, Host: Host{InsecureSkipVerify: true}, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		err = reach(t, carrier, host)
		if e, ok := errors.AsType[*Error](err); !ok || e.Attempts != 1 || e.Temporary() || !strings.Contains(e.Error(), want) {
			t.Errorf("error = %v\nwant %s", err, want)
		}
		server.Close()
	}
}
