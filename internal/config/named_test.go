package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestFiles: the files to follow are known whatever is wrong with them, and are read by the names under which they are followed.
func TestFiles(t *testing.T) {
	const registries = "registries:\n  a.io: {username: u, password: '${file:a}'}\n  b.io: {tls: {caFile: ca.pem, certFile: /tls/c.pem, keyFile: ../k.pem}}\n  c.io: {username: '${file:/run/u}', password: 'x${file:a}${file:$CREDENTIALS_DIRECTORY/c}'}\n"
	all := []string{"/cred/c", "/run/u", "/tls/c.pem", "DIR/a", "DIR/ca.pem", "DIR/dray.yaml", "DIR/../k.pem"}
	cases := []struct {
		name, content string
		want          []string
	}{
		{"good", small + registries, all},
		{"with mistakes", small + registries + "unknown: 1\n", all},
		{"a file is missing", small + registries + "  d.io: {username: u, password: '${file:none}'}\n", append(all, "DIR/none")},
		{"not YAML", small + registries + "{", []string{"DIR/dray.yaml"}},
		{"empty", "", []string{"DIR/dray.yaml"}},
		{"missing", "-", []string{"DIR/dray.yaml"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			var want, read []string
			for _, path := range c.want {
				want = append(want, filepath.Clean(strings.Replace(path, "DIR", dir, 1)))
			}
			slices.Sort(want)
			path := filepath.Join(dir, "dray.yaml")
			if c.content != "-" {
				if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			cfg, err := Load(path, Options{
				Getenv: func(string) (string, bool) { return "/cred", true },
				ReadFile: func(name string) ([]byte, error) {
					read = append(read, name)
					switch filepath.Base(name) {
					case "dray.yaml":
						return os.ReadFile(name)
					case "none":
						return nil, fs.ErrPermission
					}
					return []byte("x"), nil
				},
			})
			if (err == nil) != (c.name == "good") {
				t.Errorf("error: %v", err)
			}
			if diff := cmp.Diff(want, cfg.Files); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			for _, name := range read {
				if !slices.Contains(cfg.Files, name) {
					t.Errorf("%s is read, and not among the files", name)
				}
			}
			if err != nil && cfg.Mappings != nil {
				t.Error("a config with mistakes has mappings")
			}
		})
	}
}

// TestFilesAreAbsolute however the config file is named, and ".." keeps the meaning that it has behind a symlink.
func TestFilesAreAbsolute(t *testing.T) {
	t.Chdir(t.TempDir())
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"dray.yaml": here + "/dray.yaml", "./dray.yaml": here + "/dray.yaml", "x/../dray.yaml": here + "/x/../dray.yaml", "/x/../dray.yaml": "/x/../dray.yaml",
	} {
		cfg, err := Load(path, Options{ReadFile: func(name string) ([]byte, error) {
			if name != want {
				t.Errorf("%s is read for %s", name, path)
			}
			return nil, fs.ErrNotExist
		}})
		if diff := cmp.Diff(&Config{Path: path, Files: []string{want}}, cfg); diff != "" {
			t.Error(diff)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("error: %v", err)
		}
	}
}
