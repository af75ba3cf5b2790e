package main

import (
	"cmp"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/draysync/dray/internal/emulator/google"
	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
)

// TestGoogle syncs by the real program into and from Google's registries, which the config does not name: with the Application Default
// Credentials, and without. What the user has written wins, and Google is not asked where no host is one of its.
func TestGoogle(t *testing.T) {
	fulltest.Long(t)
	t.Parallel()
	const (
		private, public, other = "europe-west1-docker.pkg.dev", "gcr.io", "registry.example.com"
		mirror                 = "mirror@acme.iam.gserviceaccount.com"
		jwt                    = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	)
	for name, c := range map[string]struct {
		source, target, registries, command string
		key, machine, login                 bool
		code                                int
		calls                               string // the first of them
		says                                []string
	}{
		"by a key":          {source: other, target: private, key: true, calls: jwt},
		"no credential":     {source: other, target: private, code: exitPartly, calls: "metadata ", says: []string{"no credential is configured for " + private, "GOOGLE_APPLICATION_CREDENTIALS", "docker login"}},
		"public, anonymous": {source: public, target: other, calls: "metadata "},
		"public, by a key":  {source: public, target: other, key: true, calls: jwt},
		"of the machine, which acts": {source: other, target: private, machine: true, registries: "registries: {" + private + ": {google: {impersonate: " + mirror + "}}}", command: "check --online",
			calls: "metadata ", says: []string{private + " as " + mirror}},
		"of the machine":       {source: other, target: private, machine: true, command: "check --online", calls: "metadata ", says: []string{private + " as node@acme.iam.gserviceaccount.com"}},
		"named, no credential": {source: public, target: other, registries: "registries: {" + public + ": {google: {}}}", code: exitPartly, calls: "metadata ", says: []string{"there is no credential in a file"}},
		"a file that is wrong": {source: other, target: private, registries: "registries: {" + private + ": {google: {credentialsFile: config.json}}}", code: exitPartly, says: []string{"config.json", "check the file"}},
		"by docker login":      {source: other, target: private, key: true, login: true, code: exitPartly},
		"no host of Google":    {source: "docker.io", target: other, key: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := google.Options{Acts: []string{mirror}}
			if c.machine {
				o.Account = "node@acme.iam.gserviceaccount.com"
			}
			cloud, err := google.New(o)
			if err != nil {
				t.Fatal(err)
			}
			machine := httptest.NewServer(cloud)
			t.Cleanup(machine.Close)
			content := registry.New(registry.Options{})
			if err := registry.SingleArch(1, "linux/amd64", registry.ImageOptions{LayerSize: 100}).Push(content, "library/app", "1"); err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			env := []string{"GCE_METADATA_HOST=" + strings.TrimPrefix(machine.URL, "http://")}
			if c.key {
				env = append(env, "GOOGLE_APPLICATION_CREDENTIALS="+put(t, dir, "key.json", cloud.Key()))
			}
			put(t, dir, "config.json", "{}")
			if c.login {
				put(t, dir, "config.json", `{"auths":{"`+private+`":{"username":"_json_key","password":"other"}}}`)
			}
			hosts := map[string]http.Handler{private: cloud.Registry(registry.New(registry.Options{}), false), public: cloud.Registry(content, true), other: content, "docker.io": content}
			for _, api := range []string{"oauth2", "sts", "iamcredentials"} {
				hosts[api+".googleapis.com"] = cloud
			}
			out, code := drayAmong(t, hosts, dir, cmp.Or(c.command, "sync"), c.registries+"\nmappings:\n- {source: '"+c.source+"/library/app', target: '"+c.target+"/acme/copy', tags: ['1']}\n", env...)
			if code != c.code {
				t.Errorf("exit code %d, want %d:\n%s", code, c.code, out)
			}
			for _, text := range c.says {
				if !strings.Contains(out, text) {
					t.Errorf("%q is not in\n%s", text, out)
				}
			}
			for _, text := range cloud.Secrets() {
				if text != "" && strings.Contains(out, text) {
					t.Errorf("the secret %q is in\n%s", text, out)
				}
			}
			calls := append(cloud.Calls(), "")
			if calls[0] != c.calls || c.calls == jwt && len(calls) != 2 {
				t.Errorf("Google was asked for %q, want first %q", calls, c.calls)
			}
		})
	}
}
