package peer

import (
	"fmt"
	"os"
	"path/filepath"
)

// Copy asks for every listed tag of one repository.
type Copy struct {
	Repository string   // path at the source
	Target     string   // path at the target
	Tags       []string // the same on both sides
}

// Work is what a tool shall do.
type Work struct {
	Source, Target string // host:port
	CA             string // absolute path of the PEM file with the authorities of both; "" is plain HTTP
	Copies         []Copy
	// Dir is the tool's home: its config file, its state, its caches and TempDir. The caller makes it, and keeps it between
	// runs where the tool's memory shall last.
	Dir string
}

// TempDir is where the tool finds its TMPDIR. It is made by Run, and never emptied.
func (w Work) TempDir() string { return filepath.Join(w.Dir, "tmp") }

// environment is all that a tool sees of the machine: no registry credentials, no settings.
func (w Work) environment(path string) []string {
	environment := []string{
		"PATH=" + path,
		"HOME=" + w.Dir,
		"TMPDIR=" + w.TempDir(),
		// skopeo keeps a cache of blobs below /var/lib where it runs as root; this has it below HOME.
		"_CONTAINERS_ROOTLESS_UID=1000",
	}
	if w.CA != "" {
		environment = append(environment, "SSL_CERT_FILE="+w.CA)
	}
	return environment
}

// plain returns the flags that a tool needs for registries without TLS.
func (w Work) plain(flags ...string) []string {
	if w.CA != "" {
		return nil
	}
	return flags
}

// source is a reference at the source; tag may be empty.
func (w Work) source(repository, tag string) string { return reference(w.Source, repository, tag) }

// target is a reference at the target; tag may be empty.
func (w Work) target(repository, tag string) string { return reference(w.Target, repository, tag) }

func reference(host, repository, tag string) string {
	if tag == "" {
		return host + "/" + repository
	}
	return host + "/" + repository + ":" + tag
}

// write puts a config file into Dir and returns its path.
func (w Work) write(name, text string) (string, error) {
	path := filepath.Join(w.Dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return "", fmt.Errorf("config file: %w", err)
	}
	return path, nil
}
