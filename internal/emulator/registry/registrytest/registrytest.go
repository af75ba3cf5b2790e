// Package registrytest starts the registries of its parent package for the length of a test.
package registrytest

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/draysync/dray/internal/emulator/registry"
)

// RequireProcess starts a docker-registry that is stopped when the test ends. Where it is not installed the test is
// skipped, but fails when CI=true, so that a CI without it cannot be green.
func RequireProcess(tb testing.TB) *registry.Process {
	tb.Helper()
	p, err := registry.StartProcess(context.Background(), tb.TempDir())
	if errors.Is(err, registry.ErrNoBinary) && os.Getenv("CI") != "true" {
		tb.Skipf("%v: install Debian's package docker-registry to run this test", err)
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(p.Stop)
	return p
}

// Start serves a registry, a proxy or any gate in plain HTTP until the test ends.
func Start(tb testing.TB, gate interface {
	Start() (*registry.Server, error)
}) *registry.Server {
	tb.Helper()
	s, err := gate.Start()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	return s
}
