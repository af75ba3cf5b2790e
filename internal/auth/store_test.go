package auth

import (
	"context"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/image"
)

func entry(user, password string) string {
	return `{"auth":"` + base64.StdEncoding.EncodeToString([]byte(user+":"+password)) + `"}`
}

func write(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

func TestCredentialStore(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/docker/config.json", `{"auths":{
		"https://index.docker.io/v1/":`+entry("hub", "h:1")+`,
		"ghcr.io":`+entry("gh", "g")+`,
		"token.example":{"auth":"`+base64.StdEncoding.EncodeToString([]byte("t:"))+`","identitytoken":"refresh"},
		"empty.example":{}},
		"credHelpers":{"helped.example":"test"},"credsStore":"test"}`, 0o600)
	write(t, dir+"/auth.json", `{"auths":{"ghcr.io/acme":`+entry("acme", "a")+`}}`, 0o600)
	write(t, dir+"/bin/docker-credential-test", `#!/bin/sh
read server
case "$server" in
helped.example) echo '{"ServerURL":"x","Username":"helper","Secret":"s"}';;
stored.example) echo '{"Username":"<token>","Secret":"idtoken"}';;
broken.example) echo 'no json';;
*) echo 'credentials not found in native keychain'; exit 1;;
esac
`, 0o700)
	t.Setenv("PATH", dir+"/bin:"+os.Getenv("PATH"))
	env := map[string]string{"DOCKER_CONFIG": dir + "/docker", "REGISTRY_AUTH_FILE": dir + "/auth.json", "HOME": dir}
	store, err := Load(func(k string) string { return env[k] })
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]Credential{
		"docker.io/library/alpine": {Username: "hub", Password: "h:1"},
		"ghcr.io/other/x":          {Username: "gh", Password: "g"},
		"ghcr.io/acme/x":           {Username: "acme", Password: "a"},
		"ghcr.io/acmes/x":          {Username: "gh", Password: "g"},
		"token.example/x":          {Username: "t", IdentityToken: "refresh"},
		"helped.example/x":         {Username: "helper", Password: "s"},
		"stored.example/x":         {IdentityToken: "idtoken"},
		"empty.example/x":          {},
		"unknown.example/x":        {},
	}
	for name, want := range cases {
		ref, err := image.Parse(name)
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := store.Lookup(context.Background(), ref.Repository)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(Credential{})); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	c, _, err := store.Lookup(context.Background(), image.Repository{Registry: "broken.example", Path: "x"})
	if err != nil || !c.Anonymous() || !strings.Contains(c.Lacking, "docker-credential-test in credsStore, and that fails: ") {
		t.Errorf("a store of everything that answers nonsense: %+v, %v", c, err)
	}
}

func TestCredentialFileThatIsBroken(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/config.json", `{"auths":`, 0o600)
	_, err := Load(func(k string) string { return map[string]string{"DOCKER_CONFIG": dir}[k] })
	if err == nil || !strings.Contains(err.Error(), dir+"/config.json") {
		t.Errorf("error = %v", err)
	}
	if err := errors.Join(os.Remove(dir+"/config.json"), syscall.Mkfifo(dir+"/config.json", 0o600)); err != nil {
		t.Fatal(err)
	}
	_, err = Load(func(k string) string { return map[string]string{"DOCKER_CONFIG": dir}[k] })
	if err == nil || !strings.Contains(err.Error(), dir+"/config.json: not a regular file") {
		t.Errorf("of a pipe the error is %v", err)
	}
	none, err := Load(func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	if c, _, err := none.Lookup(context.Background(), image.Repository{Registry: "a.io", Path: "x"}); err != nil || c != (Credential{}) {
		t.Errorf("no files: %v, %v", c, err)
	}
}

// TestCredentialStoreKeys: a key holds for its host however both are written, and of two keys for one host the same one always does.
func TestCredentialStoreKeys(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/config.json", `{"auths":{
		"https://Registry.Example:443/v2/":`+entry("tls", "p")+`,
		"127.0.0.1:05000":`+entry("four", "p")+`,
		"[0:0::1]:5000":`+entry("six", "p")+`,
		"bücher.example.":`+entry("name", "p")+`,
		"registry-1.docker.io":`+entry("hub", "p")+`,
		"https://twice.example":`+entry("other", "p")+`, "twice.example":`+entry("exact", "p")+`, "TWICE.example:443":`+entry("other", "p")+`,
		"empty.example":{}, "https://empty.example":`+entry("full", "p")+`},
		"credHelpers":{"HELPED.example:0443":"test"}}`, 0o600)
	write(t, dir+"/bin/docker-credential-test", "#!/bin/sh\necho '{\"Username\":\"helper\",\"Secret\":\"s\"}'\n", 0o700)
	t.Setenv("PATH", dir+"/bin:"+os.Getenv("PATH"))
	want := map[string]string{
		"registry.example/a": "tls", "REGISTRY.example.:443/a": "tls", "127.0.0.1:5000/a": "four", "[::ffff:127.0.0.1]:5000/a": "four",
		"[::1]:5000/a": "six", "xn--bcher-kva.example/a": "name", "alpine": "hub", "twice.example/a": "exact", "empty.example/a": "full",
		"helped.example/a": "helper",
	}
	for range 20 { // a map gives its keys in any order
		store, err := Load(func(k string) string { return map[string]string{"DOCKER_CONFIG": dir}[k] })
		if err != nil {
			t.Fatal(err)
		}
		for name, account := range want {
			ref, err := image.Parse(name)
			if err != nil {
				t.Fatal(err)
			}
			if got, _, err := store.Lookup(context.Background(), ref.Repository); err != nil || got.Username != account {
				t.Fatalf("%s is signed in to as %q, %v; want %q", name, got.Username, err, account)
			}
		}
	}
}

// TestHelperThatWritesWithoutEnd: what a helper writes is bounded as it comes.
func TestHelperThatWritesWithoutEnd(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/docker-credential-flood", "#!/bin/sh\nexec cat /dev/zero\n", 0o700)
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	if _, err := askHelper(t.Context(), "flood", "x"); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("error = %v", err)
	}
}

// TestHelperThatLeavesSomethingBehind: what a helper has said counts, though a program that it started still holds its output.
func TestHelperThatLeavesSomethingBehind(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/docker-credential-agent", "#!/bin/sh\necho '{\"Username\":\"ann\",\"Secret\":\"s\"}'\necho done\nsleep 20 &\n", 0o700)
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	if c, err := askHelper(t.Context(), "agent", "x"); err != nil || c.Username != "ann" {
		t.Errorf("%v, %v", c, err)
	}
}

// TestHelperWithoutSecret: a helper that knows a user and no password leaves requests without a credential, and a refusal says why.
func TestHelperWithoutSecret(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/config.json", `{"credHelpers":{"helped.example":"test"}}`, 0o600)
	write(t, dir+"/bin/docker-credential-test", "#!/bin/sh\necho '{\"Username\":\"ann\"}'\n", 0o700)
	t.Setenv("PATH", dir+"/bin:"+os.Getenv("PATH"))
	store, err := Load(func(k string) string { return map[string]string{"DOCKER_CONFIG": dir}[k] })
	if err != nil {
		t.Fatal(err)
	}
	c, _, err := store.Lookup(context.Background(), image.Repository{Registry: "helped.example", Path: "x"})
	if err != nil || !c.Anonymous() || !strings.Contains(c.Lacking, "its answer has a Username and no Secret") {
		t.Errorf("%+v, %v", c, err)
	}
}
