package wire

import (
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// reach asks a host by the transport of a registry.
func reach(t *testing.T, carrier *Transport, host string) error {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+host+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := carrier.Do(req, Call{Operation: "GET"})
	if err == nil {
		_ = resp.Body.Close()
	}
	return err
}

// TestNameOfThisMachine: what a name stands for is seen when it is connected to. Only a registry that is here itself may lead here.
func TestNameOfThisMachine(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	here := net.JoinHostPort("localhost", port)
	carrier, err := New(Options{Name: "192.0.2.1", API: "192.0.2.1", Start: 1, Most: 1, Retries: Retries{Attempts: 3}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err = reach(t, carrier, here); err == nil || !strings.Contains(err.Error(), "192.0.2.1 leads to an address of this machine") || strings.Contains(err.Error(), "attempts") {
		t.Errorf("error = %v", err)
	}
	carrier, err = New(Options{Name: here, API: here, Start: 1, Most: 1, Retries: Retries{Attempts: 1}, Host: Host{PlainHTTP: true}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{here, server.Listener.Addr().String()} {
		if err := reach(t, carrier, host); err == nil || !strings.Contains(err.Error(), "404") {
			t.Errorf("at a registry that is here itself: %v", err)
		}
	}
	if !carrier.dialer.local.Load() {
		t.Error("it is not seen that the registry is here")
	}
}

// TestAddressesOfClouds: where clouds hand out credentials no registry leads.
func TestAddressesOfClouds(t *testing.T) {
	carrier, err := New(Options{Name: "192.0.2.1", API: "192.0.2.1", Start: 1, Most: 1, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"169.254.169.254", "169.254.170.23", "[fd00:ec2::254]", "[fd00:ec2:0::0254]:80", "[fe80::1%25eth0]", "100.100.100.200", "127.0.0.1", "localhost", "0.0.0.0", "[::ffff:169.254.169.254]"} {
		if _, err := carrier.Allowed(&url.URL{Scheme: "https", Host: host}); err == nil {
			t.Errorf("%s is allowed", host)
		}
	}
	for _, host := range []string{"192.0.2.2", "[fd00:ec3::254]", "10.0.0.1", "auth.example"} {
		if _, err := carrier.Allowed(&url.URL{Scheme: "https", Host: host}); err != nil {
			t.Error(err)
		}
	}
}
