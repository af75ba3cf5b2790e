package azure_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/emulator/azure"
)

var update = flag.Bool("update", false, "rewrite testdata/az.json by what Azure's command line sends")

// az runs Azure's command line in a folder of its own, signed in to the world's tenant.
type az struct {
	w   *world
	env []string
}

// newAZ signs in; the test is skipped where there is no az, unless DRAY_REQUIRE_AZ is set.
func newAZ(t *testing.T, w *world) *az {
	t.Helper()
	if _, err := exec.LookPath("az"); err != nil {
		if os.Getenv("DRAY_REQUIRE_AZ") != "" {
			t.Fatal(err)
		}
		t.Skip("Azure's command line, az, is not installed: apt-get install azure-cli")
	}
	proxy, err := w.cloud.StartProxy()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, proxy.CA, 0o600); err != nil {
		t.Fatal(err)
	}
	a := &az{w: w, env: []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "AZURE_CONFIG_DIR=" + dir, "REQUESTS_CA_BUNDLE=" + ca, "HTTPS_PROXY=" + proxy.URL, "HTTP_PROXY=" + proxy.URL,
		"AZURE_CORE_COLLECT_TELEMETRY=0", "AZURE_CORE_NO_COLOR=1", "AZURE_CLIENTS_SHOW_SECRETS_WARNING=0",
	}}
	a.run(t, "login", "--service-principal", "-u", client, "-p", secret, "--tenant", home)
	return a
}

func (a *az) run(t *testing.T, args ...string) {
	t.Helper()
	var out bytes.Buffer
	c := exec.Command("az", args...)
	c.Env, c.Stdout, c.Stderr = a.env, &out, &out
	if err := c.Run(); err != nil {
		t.Fatalf("az %s: %v\n%s", strings.Join(args, " "), err, out.String())
	}
}

// TestAzureCommandLine has the program that people use make the imports of Microsoft's article: the emulator is right in its eyes. What it
// sends is in testdata/az.json, which the engine's requests are compared with.
func TestAzureCommandLine(t *testing.T) {
	w := newWorld(t, func(o *azure.Options) { o.Takes = time.Second })
	w.cloud.Inject(azure.Behavior{RetryAfter: time.Second})
	beside := w.tenant.AddSubscription(besideSubscription).AddRegistry(azure.RegistryOptions{Name: "besideregistry"})
	w.app.Grant(beside.ID(), azure.DataImporter)
	app := w.other.AddApp(azure.AppOptions{ClientID: "abroad-app", Secret: "abroad-secret"})
	app.Grant(w.abroad.ID(), azure.AcrPull)
	w.abroad.AddToken("puller", "token-password", "sourcerrepo", "pull")
	a := newAZ(t, w)
	same := push(t, w.source.Content, "aci-helloworld", "latest", 1)
	push(t, w.hub, "library/hello-world", "latest", 2)
	push(t, w.hub, "tensorflow/tensorflow", "latest-gpu", 3)
	push(t, beside.Content, "samples/aci-helloworld", "latest", 4)
	push(t, w.abroad.Content, "sourcerrepo", "tag", 5)
	push(t, w.private, "sourcerepo/sourceimage", "tag", 6)
	push(t, w.target.Content, "staging/app", "v1", 7)
	login := w.source.LoginServer()
	sent := map[string]string{}
	for _, s := range []struct {
		name string
		args []string
		// at is what the target has then: repository:tag, or repository@digest.
		at string
	}{
		{"Docker Hub", []string{"--source", "docker.io/library/hello-world:latest", "--image", "hello-world:latest"}, "hello-world:latest"},
		{"Docker Hub with an account", []string{"--source", "docker.io/tensorflow/tensorflow:latest-gpu", "--image", "tensorflow:latest-gpu", "--username", "hub_user", "--password", "hub_pat"}, "tensorflow:latest-gpu"},
		{"same subscription by login server", []string{"--source", login + "/aci-helloworld:latest", "--image", "aci-helloworld:latest"}, "aci-helloworld:latest"},
		{"by resource ID", []string{"--source", "aci-helloworld:latest", "--image", "by-id:latest", "--registry", w.source.ID()}, "by-id:latest"},
		{"by digest", []string{"--source", login + "/aci-helloworld@" + same.Digest, "--image", "repository_by_digest:tag_by_digest"}, "repository_by_digest:tag_by_digest"},
		{"untagged", []string{"--source", login + "/aci-helloworld@" + same.Digest, "--repository", "untagged"}, "untagged@" + same.Digest},
		{"another subscription", []string{"--source", "samples/aci-helloworld:latest", "--image", "aci-hello-world:latest", "--registry", beside.ID()}, "aci-hello-world:latest"},
		{"service principal", []string{"--source", "abroad1.azurecr.io/sourcerrepo:tag", "--image", "targetimage:tag", "--username", "abroad-app", "--password", "abroad-secret"}, "targetimage:tag"},
		{"token of a repository", []string{"--source", "abroad1.azurecr.io/sourcerrepo:tag", "--image", "targetimage:token", "--username", "puller", "--password", "token-password"}, "targetimage:token"},
		{"private registry", []string{"--source", "registry.example.com:5000/sourcerepo/sourceimage:tag", "--image", "sourceimage:tag", "--username", "ann", "--password", "private-password"}, "sourceimage:tag"},
		{"two tags", []string{"--source", login + "/aci-helloworld:latest", "--image", "two:a", "--image", "two:b"}, "two:b"},
		{"within one registry", []string{"--source", "targetregistry.azurecr.io/staging/app:v1", "--image", "app:released"}, "app:released"},
		{"force", []string{"--source", login + "/aci-helloworld:latest", "--image", "hello-world:latest", "--force"}, "hello-world:latest"},
	} {
		t.Run(s.name, func(t *testing.T) {
			before := len(w.cloud.Account().Imports)
			a.run(t, append([]string{"acr", "import", "--name", "targetregistry"}, s.args...)...)
			imports := w.cloud.Account().Imports
			if len(imports) != before+1 {
				t.Fatalf("%d imports", len(imports)-before)
			}
			sent[s.name] = imports[before].Body
			repository, reference, _ := strings.Cut(s.at, ":")
			if r, digest, byDigest := strings.Cut(s.at, "@"); byDigest {
				repository, reference = r, digest
			}
			digest := imports[before].Digest
			if got := w.target.Content.Digest(repository, reference); got != digest || digest == "" {
				t.Errorf("%s holds %q, want %s", s.at, got, digest)
			}
			if err := w.target.Content.Whole(repository, digest); err != nil {
				t.Error(err)
			}
		})
	}
	compareAZ(t, sent)
}

const besideSubscription = "66666666-6666-6666-6666-666666666666"

// compareAZ compares what was sent with what is known to be, or writes it down.
func compareAZ(t *testing.T, sent map[string]string) {
	t.Helper()
	path := filepath.Join("testdata", "az.json")
	got, err := json.MarshalIndent(sent, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("az sends something else (-want +got):\n%s", diff)
	}
}
