package registry

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

func auth(user, password string) string {
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
		"https://index.docker.io/v1/":`+auth("hub", "h:1")+`,
		"ghcr.io":`+auth("gh", "g")+`,
		"token.example":{"auth":"`+base64.StdEncoding.EncodeToString([]byte("t:"))+`","identitytoken":"refresh"},
		"empty.example":{}},
		"credHelpers":{"helped.example":"test"},"credsStore":"test"}`, 0o600)
	write(t, dir+"/auth.json", `{"auths":{"ghcr.io/acme":`+auth("acme", "a")+`}}`, 0o600)
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
	store, err := LoadCredentials(func(k string) string { return env[k] })
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
		got, err := store.Lookup(context.Background(), ref.Repository)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if _, err := store.Lookup(context.Background(), image.Repository{Registry: "broken.example", Path: "x"}); err == nil || !strings.Contains(err.Error(), "docker-credential-test") {
		t.Errorf("a helper that answers nonsense: %v", err)
	}
}

func TestCredentialFileThatIsBroken(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/config.json", `{"auths":`, 0o600)
	_, err := LoadCredentials(func(k string) string { return map[string]string{"DOCKER_CONFIG": dir}[k] })
	if err == nil || !strings.Contains(err.Error(), dir+"/config.json") {
		t.Errorf("error = %v", err)
	}
	if err := errors.Join(os.Remove(dir+"/config.json"), syscall.Mkfifo(dir+"/config.json", 0o600)); err != nil {
		t.Fatal(err)
	}
	_, err = LoadCredentials(func(k string) string { return map[string]string{"DOCKER_CONFIG": dir}[k] })
	if err == nil || !strings.Contains(err.Error(), dir+"/config.json: not a regular file") {
		t.Errorf("of a pipe the error is %v", err)
	}
	none, err := LoadCredentials(func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	if c, err := none.Lookup(context.Background(), image.Repository{Registry: "a.io", Path: "x"}); err != nil || c != (Credential{}) {
		t.Errorf("no files: %v, %v", c, err)
	}
}

// TestCredentialStoreKeys: a key holds for its host however both are written, and of two keys for one host the same one always does.
func TestCredentialStoreKeys(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/config.json", `{"auths":{
		"https://Registry.Example:443/v2/":`+auth("tls", "p")+`,
		"127.0.0.1:05000":`+auth("four", "p")+`,
		"[0:0::1]:5000":`+auth("six", "p")+`,
		"bücher.example.":`+auth("name", "p")+`,
		"registry-1.docker.io":`+auth("hub", "p")+`,
		"https://twice.example":`+auth("other", "p")+`, "twice.example":`+auth("exact", "p")+`, "TWICE.example:443":`+auth("other", "p")+`,
		"empty.example":{}, "https://empty.example":`+auth("full", "p")+`},
		"credHelpers":{"HELPED.example:0443":"test"}}`, 0o600)
	write(t, dir+"/bin/docker-credential-test", "#!/bin/sh\necho '{\"Username\":\"helper\",\"Secret\":\"s\"}'\n", 0o700)
	t.Setenv("PATH", dir+"/bin:"+os.Getenv("PATH"))
	want := map[string]string{
		"registry.example/a": "tls", "REGISTRY.example.:443/a": "tls", "127.0.0.1:5000/a": "four", "[::ffff:127.0.0.1]:5000/a": "four",
		"[::1]:5000/a": "six", "xn--bcher-kva.example/a": "name", "alpine": "hub", "twice.example/a": "exact", "empty.example/a": "full",
		"helped.example/a": "helper",
	}
	for range 20 { // a map gives its keys in any order
		store, err := LoadCredentials(func(k string) string { return map[string]string{"DOCKER_CONFIG": dir}[k] })
		if err != nil {
			t.Fatal(err)
		}
		for name, account := range want {
			ref, err := image.Parse(name)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := store.Lookup(context.Background(), ref.Repository); err != nil || got.Username != account {
				t.Fatalf("%s is signed in to as %q, %v; want %q", name, got.Username, err, account)
			}
		}
	}
}
