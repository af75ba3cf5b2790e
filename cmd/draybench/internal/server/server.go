// Package server starts the registries that draybench copies between, as processes.
package server

import (
	"context"
	"fmt"
	"os/exec"
	"strings"

	"github.com/draysync/dray/internal/emulator/registry"
)

// Kind is a program that is a registry.
type Kind string

// The kinds there are.
const (
	Debian Kind = "debian" // docker-registry, as Debian packages it: distribution 2.8
	V3     Kind = "v3"     // registry: distribution 3
)

// Kinds returns all of them.
func Kinds() []Kind { return []Kind{Debian, V3} }

// program is what starts it.
func (k Kind) program() registry.Program {
	if k == V3 {
		return registry.DistributionV3
	}
	return registry.DockerRegistry
}

// Find says how the program calls itself ("docker-registry github.com/docker/distribution 2.8.2"), and fails where it is
// not on PATH.
func (k Kind) Find(ctx context.Context) (string, error) {
	if _, err := exec.LookPath(string(k.program())); err != nil {
		return "", fmt.Errorf("find registry %s: %w", k, err)
	}
	out, err := exec.CommandContext(ctx, string(k.program()), "--version").Output()
	if err != nil {
		return string(k.program()), nil //nolint:nilerr // a registry that does not tell its version is one all the same
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return line, nil
}

// Server is a registry that runs.
type Server struct {
	URL  string // without a slash at the end
	Stop func() // kills the process and waits for its end; the storage stays
}

// Start starts a registry on a free loopback port, with its storage in data/ below dir, and returns when it answers. It
// runs until Stop, or until ctx ends.
func Start(ctx context.Context, kind Kind, dir string) (Server, error) {
	process, err := kind.program().Start(ctx, dir)
	if err != nil {
		return Server{}, err
	}
	return Server{URL: process.URL, Stop: process.Stop}, nil
}
