package peer

import (
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// The tools there are.
const (
	dray        = "dray"
	regsync     = "regsync"
	skopeo      = "skopeo"
	crane       = "crane"
	oras        = "oras"
	dregsy      = "dregsy"
	imageSyncer = "image-syncer"
	ocync       = "ocync"
)

// Names returns the names of all tools, dray first.
func Names() []string {
	return []string{dray, regsync, skopeo, crane, oras, dregsy, imageSyncer, ocync}
}

// Tool is a program that copies images.
type Tool struct {
	Name    string `json:"name"` // one of Names
	Path    string `json:"path"`
	Version string `json:"version"` // as the program says; "" is unknown
}

// Find returns the tools of these names in the order of Names; a tool that is not on PATH is then an error. Without names
// it returns all that are on PATH and speak plain HTTP, or TLS where tls is set. dray is the path of the program dray; "" looks on PATH for it, too.
func Find(ctx context.Context, names []string, drayPath string, tls bool) ([]Tool, error) {
	for _, name := range names {
		if !slices.Contains(Names(), name) {
			return nil, fmt.Errorf("no tool is named %q; there are %s", name, strings.Join(Names(), ", "))
		}
	}
	var tools []Tool
	for _, name := range Names() {
		if len(names) > 0 && !slices.Contains(names, name) || len(names) == 0 && name == ocync && !tls {
			continue
		}
		program := name
		if name == dray && drayPath != "" {
			program = drayPath
		}
		path, err := find(program)
		if errors.Is(err, exec.ErrNotFound) && len(names) == 0 && program == name {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("find %s: %w", name, err)
		}
		tools = append(tools, Tool{Name: name, Path: path, Version: version(ctx, name, path)})
	}
	return tools, nil
}

// find is exec.LookPath, with a path that holds in every folder.
func find(program string) (string, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return "", err
	}
	return filepath.Abs(path)
}

// version asks a program for its version, or looks for what Go has built into it. One that does not tell is used all the same.
func version(ctx context.Context, name, path string) string {
	argument := "version"
	switch name {
	case skopeo, ocync:
		argument = "--version"
	case dregsy, imageSyncer: // neither says
		info, err := buildinfo.ReadFile(path)
		if err != nil {
			return ""
		}
		return info.Main.Version
	}
	command := exec.CommandContext(ctx, path, argument)
	out, err := command.Output()
	if err != nil {
		return ""
	}
	return readVersion(name, string(out))
}

var number = regexp.MustCompile(`v?\d+\.\d+\S*`)

// readVersion finds the version in a program's answer: the first thing on its first line that looks like one, or else what
// that line says beside the program's name ("dray (devel)").
func readVersion(name, answer string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(answer), "\n")
	if found := number.FindString(line); found != "" {
		return found
	}
	return strings.TrimSpace(strings.TrimPrefix(line, name))
}
