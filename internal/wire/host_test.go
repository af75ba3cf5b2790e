package wire

import "testing"

// TestPlainIsForTheLoopbackOnly: elsewhere a registry without TLS has to be named as such.
func TestPlainIsForTheLoopbackOnly(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "localhost:5000": true, "127.0.0.1:5000": true, "127.9.9.9": true, "[::1]:5000": true,
		"registry.example": false, "localhost.example": false, "10.0.0.1:5000": false, "192.168.1.1": false, "notlocalhost": false,
	} {
		if got := Loopback(host); got != want {
			t.Errorf("loopback(%q) = %v", host, got)
		}
	}
}
