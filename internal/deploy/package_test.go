package deploy

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/draysync/dray/internal/fulltest"
)

// asRoot skips the test where it does not run as root.
func asRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs to run as root")
	}
}

// packages builds the .deb and the .rpm as a release does: by nfpm, of what .goreleaser.yaml says.
func packages(t *testing.T) (deb, rpm string) {
	t.Helper()
	nfpm := fulltest.Program(t, "nfpm", "it by go install github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.0")
	dir := t.TempDir()
	top, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	in(t, top, "sh", "packaging/prepare.sh", filepath.Join(dir, "out"))
	in(t, top, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(dir, "dray"), "./cmd/dray")
	raw, err := os.ReadFile(filepath.Join(top, ".goreleaser.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var release struct {
		NFPMs []map[string]any `yaml:"nfpms"`
	}
	if err := yaml.Unmarshal(raw, &release); err != nil || len(release.NFPMs) != 1 {
		t.Fatalf("%v: %d packages, want 1", err, len(release.NFPMs))
	}
	p := release.NFPMs[0]
	for _, own := range []string{"id", "package_name", "formats", "file_name_template", "bindir", "mtime"} { // goreleaser's, not nfpm's
		delete(p, own)
	}
	p["name"], p["version"], p["arch"] = "dray", "1.2.3", command(t, "go", "env", "GOARCH")
	place := func(src any) string {
		text, _ := src.(string)
		if rest, ok := strings.CutPrefix(text, "packaging/out/"); ok {
			return filepath.Join(dir, "out", rest)
		}
		return filepath.Join(top, text)
	}
	contents, _ := p["contents"].([]any)
	for _, c := range contents {
		if entry, _ := c.(map[string]any); entry["src"] != nil {
			entry["src"] = place(entry["src"])
		}
	}
	p["contents"] = append(contents, map[string]any{"src": filepath.Join(dir, "dray"), "dst": "/usr/bin/dray", "file_info": map[string]any{"mode": 0o755}})
	scripts, _ := p["scripts"].(map[string]any)
	for name, script := range scripts {
		scripts[name] = place(script)
	}
	raw, err = yaml.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "nfpm.yaml")
	if err := os.WriteFile(config, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	deb, rpm = filepath.Join(dir, "dray.deb"), filepath.Join(dir, "dray.rpm")
	in(t, dir, nfpm, "package", "--config", config, "--packager", "deb", "--target", deb)
	in(t, dir, nfpm, "package", "--config", config, "--packager", "rpm", "--target", rpm)
	return deb, rpm
}

func in(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	c := exec.Command(name, args...)
	c.Dir = dir
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// debian is a clean root of Debian.
type debian struct {
	*testing.T
	dir string
}

func newDebian(t *testing.T) debian {
	t.Helper()
	bootstrap := fulltest.Program(t, "debootstrap", "Debian's package debootstrap")
	asRoot(t)
	d := debian{t, filepath.Join(t.TempDir(), "root")}
	in(t, "/", bootstrap, "--variant=minbase", "bookworm", d.dir)
	return d
}

// run runs a command in the root.
func (d debian) run(args ...string) string {
	d.Helper()
	return in(d.T, "/", "chroot", append([]string{d.dir, "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive"}, args...)...)
}

func (d debian) install(deb string) string {
	d.Helper()
	in(d.T, "/", "cp", deb, d.dir+"/dray.deb")
	return d.run("dpkg", "--force-confold", "-i", "/dray.deb")
}

// there tells whether a path is in the root.
func (d debian) there(path string) bool {
	_, err := os.Lstat(d.dir + path)
	return err == nil
}

func (d debian) has(want bool, paths ...string) {
	d.Helper()
	for _, path := range paths {
		if d.there(path) != want {
			d.Errorf("%s is there: %t, want %t", path, !want, want)
		}
	}
}

func (d debian) write(path, text string) {
	d.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(d.dir+path), 0o755), os.WriteFile(d.dir+path, []byte(text), 0o644)); err != nil {
		d.Fatal(err)
	}
}

// TestDebianPackage installs the package into a clean Debian, upgrades it, removes it and purges it.
func TestDebianPackage(t *testing.T) {
	deb, _ := packages(t)
	d := newDebian(t)
	const (
		state, enabled = "/var/lib/private/dray/dray.db", "/etc/systemd/system/multi-user.target.wants/dray.service"
		example        = "/etc/dray/dray.yaml.example"
		own            = "/etc/dray/dray.yaml"
	)
	said := d.install(deb)
	if !strings.Contains(said, "dray waits for /etc/dray/dray.yaml") {
		t.Errorf("it does not say what to do:\n%s", said)
	}
	d.has(true, "/usr/bin/dray", "/usr/lib/systemd/system/dray.service", example, enabled, "/usr/share/man/man1/dray.1.gz", "/usr/share/man/man1/dray-sync.1.gz",
		"/usr/share/man/man5/dray.yaml.5.gz", "/usr/share/bash-completion/completions/dray", "/usr/share/zsh/vendor-completions/_dray",
		"/usr/share/fish/vendor_completions.d/dray.fish", "/usr/share/doc/dray/copyright", "/usr/share/doc/dray/changelog.gz")
	d.has(false, own) // so the unit's ConditionPathExists= keeps it waiting
	for line := range strings.Lines(d.run("dpkg", "-L", "dray")) {
		path := strings.TrimSpace(line)
		info, err := os.Lstat(d.dir + path)
		if err != nil {
			t.Error(err)
			continue
		}
		stat, _ := info.Sys().(*syscall.Stat_t)
		if stat.Uid != 0 || stat.Gid != 0 || info.Mode().Perm()&0o022 != 0 || info.Mode().Perm()&0o444 != 0o444 {
			t.Errorf("%s is of %d:%d, %s", path, stat.Uid, stat.Gid, info.Mode())
		}
	}
	if got := d.run("dpkg-query", "-W", "-f", "${Conffiles}", "dray"); !strings.HasPrefix(got, example) || strings.Contains(got, "\n") {
		t.Errorf("conffiles: %s", got)
	}
	if got := d.run("dray", "version"); !strings.HasPrefix(got, "dray ") {
		t.Error(got)
	}
	if got := d.run("dray", "check", "-c", example); !strings.Contains(got, "1 mapping") {
		t.Error(got)
	}
	manual(t, d.dir+"/usr/share/man/man5/dray.yaml.5.gz")

	d.write(own, "version: 1\n")
	d.write(state, "state")
	if err := os.Symlink("private/dray", d.dir+"/var/lib/dray"); err != nil { // as DynamicUser= has it
		t.Fatal(err)
	}
	d.write(example, "changed\n")
	if err := os.Remove(d.dir + enabled); err != nil { // as systemctl disable does it
		t.Fatal(err)
	}
	if said := d.install(deb); strings.Contains(said, "waits for") {
		t.Errorf("an upgrade speaks as if it were new:\n%s", said)
	}
	d.has(false, enabled)
	if raw, err := os.ReadFile(d.dir + example); err != nil || string(raw) != "changed\n" {
		t.Errorf("what was changed is lost: %q, %v", raw, err)
	}

	d.run("dpkg", "-r", "dray")
	d.has(false, "/usr/bin/dray", "/usr/lib/systemd/system/dray.service", "/usr/share/man/man1/dray.1.gz")
	d.has(true, own, example, state)
	d.run("dpkg", "-P", "dray")
	d.has(false, example, state, "/var/lib/dray", "/var/lib/private/dray", "/var/lib/systemd/deb-systemd-helper-enabled/dray.service.dsh-also")
	d.has(true, own) // an administrator has written it, and it may be all there is of it
}

// manual reads a page that is compressed.
func manual(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	unpacked, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	page, err := io.ReadAll(unpacked)
	if err != nil || !bytes.Contains(page, []byte("referrersInterval")) || !bytes.HasPrefix(page, []byte(".TH \"DRAY.YAML\" \"5\"")) && !bytes.Contains(page, []byte(".TH")) {
		t.Errorf("%s is no page of the config: %v", path, err)
	}
}

// TestRPM lists what is in the package for other distributions.
func TestRPM(t *testing.T) {
	_, path := packages(t)
	rpm := fulltest.Program(t, "rpm", "Debian's package rpm")
	files := in(t, "/", rpm, "-qlp", path)
	for _, want := range []string{"/usr/bin/dray", "/usr/lib/systemd/system/dray.service", "/etc/dray/dray.yaml.example", "/usr/share/zsh/site-functions/_dray", "/usr/share/man/man5/dray.yaml.5.gz"} {
		if !strings.Contains(files+"\n", want+"\n") {
			t.Errorf("it lacks %s:\n%s", want, files)
		}
	}
	if got := in(t, "/", rpm, "-qcp", path); got != "/etc/dray/dray.yaml.example" {
		t.Errorf("config files: %s", got)
	}
}

// TestScripts has a shell read the scripts of the packages.
func TestScripts(t *testing.T) {
	found := 0
	err := filepath.WalkDir(filepath.Join(root, "packaging"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".sh" {
			return err
		}
		found++
		command(t, "sh", "-n", path)
		return nil
	})
	if err != nil || found < 4 {
		t.Errorf("%d scripts, %v", found, err)
	}
}
