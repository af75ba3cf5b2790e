package peer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadVersion(t *testing.T) {
	tests := []struct{ name, answer, want string }{
		{"regsync", "VCSTag:     v0.11.7\nVCSRef:     unknown\nGoVer: go1.26\n", "v0.11.7"},
		{"skopeo", "skopeo version 1.9.3\n", "1.9.3"},
		{"crane", "v0.22.1\n", "v0.22.1"},
		{"oras", "Version:    1.3.6\nGo version: go1.26.8\n", "1.3.6"},
		{"dray", "dray (devel)\ncommit unknown\ngo1.26.8 linux/amd64\n", "(devel)"},
		{"dray", "dray v1.2.0-rc.1\n", "v1.2.0-rc.1"},
		{"dray", "", ""},
	}
	for _, test := range tests {
		t.Run(test.name+" "+test.want, func(t *testing.T) {
			if got := readVersion(test.name, test.answer); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

// program puts an executable into a folder.
func program(t *testing.T, folder, name, script string) string {
	t.Helper()
	path := filepath.Join(folder, name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFind(t *testing.T) {
	root := t.TempDir()
	t.Chdir(root)
	bin, elsewhere := t.TempDir(), filepath.Join(root, "elsewhere")
	if err := os.Mkdir(elsewhere, 0o700); err != nil {
		t.Fatal(err)
	}
	program(t, bin, "crane", "echo v0.22.1")
	program(t, bin, "regsync", "exit 1")
	program(t, bin, "ocync", "echo ocync 0.5.2")
	program(t, elsewhere, "mydray", "echo dray v1.0.0")
	t.Setenv("PATH", bin)
	mydray := filepath.Join(elsewhere, "mydray")
	dray := Tool{"dray", mydray, "v1.0.0"}
	regsync := Tool{"regsync", filepath.Join(bin, "regsync"), ""}
	crane := Tool{"crane", filepath.Join(bin, "crane"), "v0.22.1"}
	ocync := Tool{"ocync", filepath.Join(bin, "ocync"), "0.5.2"}
	tests := []struct {
		name  string
		names []string
		dray  string
		tls   bool
		want  []Tool
		err   string
	}{
		{"all that are there", nil, "", false, []Tool{regsync, crane}, ""},
		{"all that speak TLS", nil, "", true, []Tool{regsync, crane, ocync}, ""},
		{"dray by its path", nil, mydray, false, []Tool{dray, regsync, crane}, ""},
		{"dray by a relative path", []string{"dray"}, "elsewhere/mydray", false, []Tool{dray}, ""},
		{"by name, in a fixed order", []string{"crane", "dray"}, mydray, false, []Tool{dray, crane}, ""},
		{"missing", []string{"oras"}, "", false, nil, "find oras:"},
		{"dray's path is wrong", nil, filepath.Join(elsewhere, "no"), false, nil, "find dray:"},
		{"unknown", []string{"podman"}, "", false, nil, "no tool is named"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := Find(t.Context(), test.names, test.dray, test.tls)
			if test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) || test.err == "" && err != nil {
				t.Fatalf("error %v, want %q", err, test.err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
