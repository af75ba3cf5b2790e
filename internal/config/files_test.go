package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/keyless"
	"github.com/draysync/dray/internal/schedule"
)

const (
	hidden      = "s3cr3t value"
	hiddenToken = "s3cr3t-value-of-a-token"

	fewestBroken = 65
)

// world is what the test files' references find. It has no file system but the config file itself.
func world(path string) Options {
	vars := map[string]string{
		"SECRET": hidden, "SECRET_TOKEN": hiddenToken, "WEBHOOK": "https://hooks.example.com/" + hidden, "KIND": "failed",
		"CREDENTIALS_DIRECTORY": "/run/credentials/dray.service", "EMPTY": "", "LEVEL": "debug", "TIMEOUT": "5m", "USER": "robot", "REGISTRY": "registry.example.com",
	}
	files := map[string]string{"password": hidden + "\n", "big": strings.Repeat("x", maxExpanded+1), "crlf": "robot\r\n", "key": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLASw\n"}
	return Options{
		Root:   keyless.ParseRoot,
		Getenv: func(name string) (string, bool) { v, ok := vars[name]; return v, ok },
		ReadFile: func(name string) ([]byte, error) {
			if name == absolute(path) {
				return os.ReadFile(name)
			}
			if text, ok := files[filepath.Base(name)]; ok {
				return []byte(text), nil
			}
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		},
	}
}

func glob(t testing.TB, pattern string, atLeast int) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) < atLeast {
		t.Fatalf("%s matches %d files, want at least %d (%v)", pattern, len(files), atLeast, err)
	}
	return files
}

// TestBroken holds each broken file's messages against those that stand in its golden file, and has the schema refuse what
// it can see.
func TestBroken(t *testing.T) {
	schema := schemaOf(t)
	both := glob(t, "testdata/broken/*.yaml", fewestBroken)
	loaderOnly := glob(t, "testdata/broken/loader-only/*.yaml", 20)
	for i, path := range append(both, loaderOnly...) {
		t.Run(strings.TrimPrefix(path, "testdata/broken/"), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			cfg, err := Load(path, world(path))
			if err == nil {
				t.Fatalf("it loads: %+v", cfg)
			}
			if strings.Contains(err.Error(), hidden) || strings.Contains(err.Error(), "s3cr3t") {
				t.Errorf("an error shows a value from elsewhere, or a password:\n%v", err)
			}
			got := strings.ReplaceAll(err.Error(), path, filepath.Base(path)) + "\n"
			golden(t, strings.TrimSuffix(path, ".yaml")+".golden", got)
			refused := schemaRefuses(t, schema, data)
			switch {
			case i < len(both) && refused == nil:
				t.Error("the schema accepts it")
			case i >= len(both) && refused != nil:
				t.Errorf("the schema refuses it, too, so it belongs one folder up: %v", refused)
			}
		})
	}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("messages differ (-want +got):\n%s", diff)
	}
}

// TestBrokenHasOneGoldenEach finds golden files without their file.
func TestBrokenHasOneGoldenEach(t *testing.T) {
	for _, folder := range []string{"testdata/broken", "testdata/broken/loader-only"} {
		for _, path := range glob(t, folder+"/*.golden", 1) {
			if _, err := os.Stat(strings.TrimSuffix(path, ".golden") + ".yaml"); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestValid has loader and schema accept the same files: those of the tests, and all that users are given.
func TestValid(t *testing.T) {
	schema := schemaOf(t)
	files := append(glob(t, "testdata/valid/*.yaml", 10), append(glob(t, root+"/examples/*.yaml", 4), glob(t, root+"/examples/air-gap/*.yaml", 2)...)...)
	files = append(files, glob(t, root+"/examples/azure/*.yaml", 1)...)
	files = append(files, glob(t, root+"/examples/receivers/*.yaml", 1)...)
	files = append(files, root+"/config.example.yaml", root+"/packaging/dray.yaml.example")
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			opts := world(path)
			switch {
			case strings.HasSuffix(path, "config.example.yaml"):
				opts = nothing(path)
			case strings.HasPrefix(path, root):
				opts = anything(path)
			}
			cfg, err := Load(path, opts)
			if err != nil {
				t.Errorf("the loader refuses it: %v", err)
			} else {
				consistent(t, cfg)
			}
			without := nothing(path)
			without.NoSecrets = true
			if _, err := Load(path, without); err != nil {
				t.Errorf("without secrets it is refused: %v", err)
			}
			if err := schemaRefuses(t, schema, data); err != nil {
				t.Errorf("the schema refuses it: %v", err)
			}
		})
	}
}

// nothing is a world without variables and files.
func nothing(path string) Options {
	opts := world(path)
	opts.Getenv = func(string) (string, bool) { return "", false }
	opts.ReadFile = func(name string) ([]byte, error) {
		if name != absolute(path) {
			return nil, fs.ErrNotExist
		}
		return os.ReadFile(name)
	}
	return opts
}

// anything is a world with every variable and file.
func anything(path string) Options {
	opts := world(path)
	opts.Getenv = func(string) (string, bool) { return "x", true }
	opts.ReadFile = func(name string) ([]byte, error) {
		if name != absolute(path) {
			return []byte("0123456789abcdef\n"), nil // it does for a secret, too
		}
		return os.ReadFile(name)
	}
	return opts
}

// consistent checks what the types promise of a config that loads.
func consistent(t testing.TB, c *Config) {
	t.Helper()
	if len(c.Mappings) == 0 || c.Log.Level == "" || c.Log.Format == "" {
		t.Errorf("it lacks mappings or defaults: %+v", c)
	}
	if c.Jobs < 1 || c.Jobs > 64 || c.ShutdownGrace < 0 || c.ShutdownGrace > maxGrace || checkListen(c.Server.Listen) != nil || len(c.Files) == 0 {
		t.Errorf("it lacks what the daemon needs: %+v", c)
	}
	for _, n := range c.Notifications {
		if n.URL == "" || n.Pos.Line == 0 {
			t.Errorf("%s: a notification without a URL", n.Pos)
		}
	}
	names := map[string]bool{}
	for _, m := range c.Mappings {
		if err := sound(m); err != nil {
			t.Errorf("%s: mapping %q: %v", m.Pos, m.Name, err)
		}
		if names[m.Name] {
			t.Errorf("two mappings are named %q", m.Name)
		}
		names[m.Name] = true
	}
	for key, r := range c.Registries {
		if r.Azure != nil && r.Username != "" {
			t.Errorf("registry %q has two ways to sign in", key)
		}
		if key != r.Key || (r.Username == "") != (r.Password == "") || r.Pos.Line == 0 || r.Concurrency < 0 || r.Concurrency > 256 {
			t.Errorf("registry %q: %+v", key, r)
		}
	}
}

func sound(m Mapping) error {
	single := m.Source.Tag != "" || m.Source.Digest != ""
	switch {
	case m.Name == "" || m.Pos.Line < 1 || m.Pos.Col < 1:
		return errors.New("has no name or position")
	case m.Images != nil:
		return soundImages(m)
	case m.Source.IsZero() || len(m.Targets) == 0:
		return errors.New("has no source or target")
	case m.Timeout <= 0 || m.Retries < 0 || m.Retries > 10:
		return errors.New("has an impossible timeout or retries")
	case m.Jitter < 0 || m.Priority < -100 || m.Priority > 100 || schedule.CheckJitter(m.Schedule, m.Jitter) != nil:
		return errors.New("has an impossible schedule, jitter or priority")
	case m.Engine != EngineAuto && m.Engine != EngineCopy && m.Engine != EngineACR || m.ResolveServer && m.Engine != EngineACR:
		return fmt.Errorf("has engine %q", m.Engine)
	case m.Moved != MovedFollow && m.Moved != MovedRefuse:
		return fmt.Errorf("has moved %q", m.Moved)
	case single && (len(m.Repositories) > 0 || m.Tags.String() != "nothing"):
		return errors.New("is one image and chooses tags or repositories")
	case !single && m.Tags.String() == "nothing":
		return errors.New("chooses no tags")
	case m.Referrers.All && len(m.Referrers.Types) > 0:
		return errors.New("wants all referrers and some")
	}
	for _, target := range m.Targets {
		untagged := target.Digest != "" && target.Digest == m.Source.Digest && target.Tag == "" && m.Source.Tag == ""
		if target.Digest != "" && !untagged || (target.Tag != "" || untagged) != single || target.Repository == m.Source.Repository {
			return fmt.Errorf("has the target %s", target)
		}
	}
	return nil
}

func soundImages(m Mapping) error {
	if !m.Source.IsZero() || len(m.Targets) == 0 || m.Tags.String() != "nothing" || len(m.Repositories) > 0 {
		return errors.New("has images and something else")
	}
	seen := map[image.Reference]bool{}
	for _, i := range m.Images {
		if len(i.Targets) != len(m.Targets) || i.Source.Tag == "" && i.Source.Digest == "" {
			return fmt.Errorf("has the image %v", i)
		}
		for _, target := range i.Targets {
			if seen[target] || (target.Tag == "") != (target.Digest != "") || target.Repository == i.Source.Repository {
				return fmt.Errorf("has the target %s of %s", target, i.Source)
			}
			seen[target] = target.Tag != ""
		}
	}
	return nil
}

// TestDocuments loads each config that the documents show.
func TestDocuments(t *testing.T) {
	schema := schemaOf(t)
	shown := 0
	for _, path := range append(glob(t, root+"/docs/*.md", 4), root+"/README.md") {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i, block := range strings.Split(string(text), "```yaml\n")[1:] {
			block, _, _ = strings.Cut(block, "```")
			if strings.Contains(block, "\nkind:") || strings.Contains(block, "services:") {
				continue // of Kubernetes, or of docker compose
			}
			shown++
			accepted(t, schema, fmt.Sprintf("%s, block %d", path, i), block)
		}
	}
	if shown < 20 {
		t.Errorf("only %d configs are shown", shown)
	}
}
