// Package registrytest starts the registries of its parent package for the length of a test.
package registrytest

import (
	"context"
	"testing"

	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
)

// RequireProcess starts Debian's docker-registry: see RequireProgram.
func RequireProcess(tb testing.TB) *registry.Process {
	tb.Helper()
	return RequireProgram(tb, registry.DockerRegistry)
}

// RequireProgram starts a registry that is stopped when the test ends; see fulltest.Program.
func RequireProgram(tb testing.TB, program registry.Program) *registry.Process {
	tb.Helper()
	fulltest.Program(tb, string(program), install(program))
	p, err := program.Start(context.Background(), tb.TempDir())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(p.Stop)
	return p
}

// install says how a program comes onto a machine.
func install(program registry.Program) string {
	if program == registry.DistributionV3 {
		return "it by go install github.com/distribution/distribution/v3/cmd/registry@v3.1.2"
	}
	return "Debian's package docker-registry"
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
