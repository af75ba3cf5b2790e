package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/emulator/azure"
	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
)

var updateAZ = flag.Bool("update-az", false, "rewrite az.json by what Azure's command line sends")

// scenario is one of docs/azure.md: what is written for Azure's command line, and the config that brings the same.
type scenario struct{ name, az, config string }

var scenarioBlocks = regexp.MustCompile("(?s)\n### ([^\n]+)\n\n```text\naz acr import ([^\n]+)\n```\n\n```yaml\n(.*?)```")

// scenarios reads them from the document.
func scenarios(t *testing.T) []scenario {
	t.Helper()
	text, err := os.ReadFile("../../docs/azure.md")
	if err != nil {
		t.Fatal(err)
	}
	var found []scenario
	for _, m := range scenarioBlocks.FindAllStringSubmatch(string(text), -1) {
		found = append(found, scenario{m[1], m[2], m[3]})
	}
	if n := strings.Count(string(text), "az acr import --name"); len(found) != n || n < 12 {
		t.Fatalf("%d scenarios are read of %d", len(found), n)
	}
	return found
}

// article is an Azure with what the document's scenarios name.
type article struct {
	cloud  *azure.Cloud
	ours   *azure.Subscription
	app    *azure.App
	target *azure.Registry
	source *azure.Registry
	// foreign is another tenant, in which a stranger may pull from abroad.
	foreign  *azure.Tenant
	stranger *azure.App
	abroad   *azure.Registry
	env      []string
	digest   string // of the image that is named by one
}

func newArticle(t *testing.T) *article {
	t.Helper()
	hub, mcr := registry.New(registry.Options{}), registry.New(registry.Options{})
	private := registry.New(registry.Options{Auth: &registry.Auth{Users: map[string]string{"ann": "ann's-password", "bob": "plain-text-password"}, Service: "private"}})
	a := &article{cloud: azure.New(azure.Options{Takes: time.Nanosecond, Outside: map[string]http.Handler{
		"docker.io": azure.HideUnknown(hub), "mcr.microsoft.com": mcr, "registry.example.com": private,
	}})}
	t.Cleanup(a.cloud.Close)
	a.cloud.Inject(azure.Behavior{Sync: true})
	tenant := a.cloud.AddTenant(azureTenant)
	a.foreign = a.cloud.AddTenant("22222222-2222-2222-2222-222222222222")
	a.app = tenant.AddApp(azure.AppOptions{ClientID: azureClient, Secret: azureSecret})
	a.ours = tenant.AddSubscription("00000000-0000-0000-0000-000000000000")
	a.target = a.ours.AddRegistry(azure.RegistryOptions{Name: "myregistry"})
	a.source = a.ours.AddRegistry(azure.RegistryOptions{Name: "mysource"})
	beside := tenant.AddSubscription("11111111-1111-1111-1111-111111111111").AddRegistry(azure.RegistryOptions{Name: "besidesource"})
	a.abroad = a.foreign.AddSubscription("44444444-4444-4444-4444-444444444444").AddRegistry(azure.RegistryOptions{Name: "abroadsource"})
	for _, r := range []*azure.Registry{a.target, a.source, beside} {
		a.app.Grant(r.ID(), azure.DataImporter)
		a.app.Grant(r.ID(), azure.AcrPush)
	}
	a.stranger = a.foreign.AddApp(azure.AppOptions{ClientID: "abroad-app", Secret: "abroad-secret"})
	a.stranger.Grant(a.abroad.ID(), azure.AcrPull)
	for i, at := range []struct {
		in               *registry.Registry
		repository, tags string
	}{
		{a.source.Content, "app", "latest"},
		{hub, "library/hello-world", "latest"},
		{hub, "tensorflow/tensorflow", "latest-gpu"},
		{mcr, "windows/servercore", "ltsc2019"},
		{a.source.Content, "pair", "a b"},
		{beside.Content, "samples/app", "latest"},
		{a.abroad.Content, "app", "v1"},
		{private, "team/app", "v1"},
		{a.target.Content, "staging/app", "v1"},
	} {
		image := registry.MultiArch(int64(i), registry.ImageOptions{Layers: 1, LayerSize: 100})
		for tag := range strings.FieldsSeq(at.tags) {
			if err := image.Push(at.in, at.repository, tag); err != nil {
				t.Fatal(err)
			}
		}
		if i == 0 {
			a.digest = image.Digest
		}
	}
	a.connect(t)
	return a
}

// connect starts the way into it, and makes the environment of a program that goes there.
func (a *article) connect(t *testing.T) {
	t.Helper()
	proxy, err := a.cloud.StartProxy()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, proxy.CA, 0o600); err != nil {
		t.Fatal(err)
	}
	a.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "HTTPS_PROXY=" + proxy.URL, "HTTP_PROXY=" + proxy.URL, "SSL_CERT_FILE=" + ca, "REQUESTS_CA_BUNDLE=" + ca,
		"AZURE_CONFIG_DIR=" + dir, "AZURE_CORE_COLLECT_TELEMETRY=0", "AZURE_CORE_NO_COLOR=1", "AZURE_CLIENTS_SHOW_SECRETS_WARNING=0",
		"AZURE_TENANT_ID=" + azureTenant, "AZURE_CLIENT_ID=" + azureClient, "AZURE_CLIENT_SECRET=" + azureSecret,
		"HUB_USER=hub_user", "HUB_TOKEN=hub-token", "APP_ID=abroad-app", "APP_SECRET=abroad-secret", "REGISTRY_USER=ann", "REGISTRY_PASSWORD=ann's-password",
	}
}

// named puts the digest that there is in the place of the document's.
func (a *article) named(text string) string {
	return regexp.MustCompile(`sha256:[0-9a-f]{64}`).ReplaceAllString(text, a.digest)
}

// run runs a program that has to succeed, and returns the imports that it began.
func (a *article) run(t *testing.T, c *exec.Cmd, env ...string) []azure.Import {
	t.Helper()
	before := len(a.cloud.Account().Imports)
	c.Env = append(a.env, env...)
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", strings.Join(c.Args, " "), err, out)
	}
	return a.cloud.Account().Imports[before:]
}

// sync is dray with a config of its own.
func (a *article) sync(t *testing.T, config string) (c *exec.Cmd, env []string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "dray.yaml")
	if err := os.WriteFile(path, []byte(a.named(config)), 0o600); err != nil {
		t.Fatal(err)
	}
	return exec.Command(os.Args[0], "sync", "-c", path), []string{asDray + "=1", "XDG_STATE_HOME=" + filepath.Dir(path)}
}

// TestAzureWithoutEntry: a registry with the cloud's suffix is signed in to through Entra wherever the config has an Azure credential. One that
// gives no token to this identity may still let everybody pull; and where there is no credential, the error says what to write.
func TestAzureWithoutEntry(t *testing.T) {
	t.Parallel()
	fulltest.Long(t)
	a := newArticle(t)
	const mappings = "version: 1\nmappings:\n  - {source: mysource.azurecr.io/app:latest, target: myregistry.azurecr.io/app, engine: copy}\n"
	c, env := a.sync(t, "azure: {credential: {kind: default}}\n"+mappings)
	a.run(t, c, env...)
	if got := a.target.Content.Digest("app", "latest"); got != a.digest {
		t.Errorf("app:latest holds %q", got)
	}
	for _, add := range []string{"", "registries: {myregistry.azurecr.io: {azure: {}}}\n"} {
		want := "write registries.mysource.azurecr.io: {azure: {}} to sign in through Entra"
		c, env = a.sync(t, add+strings.ReplaceAll(mappings, "/app", "/elsewhere"))
		if add != "" {
			want = "" // it is signed in to, and has no such repository
		}
		c.Env = append(a.env, env...)
		out, err := c.CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) || want == "" && strings.Contains(string(out), "to sign in through Entra") {
			t.Errorf("%v\n%s", err, out)
		}
	}
	c, env = a.sync(t, "version: 1\nmappings:\n  - {source: docker.io/library/hello-world:latest, target: myregistry.azurecr.io/hello-world}\n")
	c.Env = append(a.env, env...)
	if out, err := c.CombinedOutput(); err == nil || !strings.Contains(string(out), "write registries.myregistry.azurecr.io: {azure: {}}") {
		t.Errorf("%v\n%s", err, out)
	}
	a.abroad.Change(func(o *azure.RegistryOptions) { o.AnonymousPull = true })
	c, env = a.sync(t, "version: 1\nregistries: {myregistry.azurecr.io: {azure: {}}}\nmappings:\n  - {source: abroadsource.azurecr.io/app:v1, target: myregistry.azurecr.io/open}\n")
	a.run(t, c, env...)
	if a.target.Content.Digest("open", "v1") == "" {
		t.Error("an image that everybody may pull is not there")
	}
	if leaks := a.cloud.Account().Leaks; len(leaks) > 0 {
		t.Errorf("%+v", leaks)
	}
}

// TestAzureLooksUpOnce: however many tags there are, each registry is looked up once.
func TestAzureLooksUpOnce(t *testing.T) {
	t.Parallel()
	fulltest.Long(t)
	a := newArticle(t)
	const tags = 12
	for i := range tags {
		if err := registry.SingleArch(int64(i), "linux/amd64", registry.ImageOptions{LayerSize: 100}).Push(a.source.Content, "many", fmt.Sprintf("v%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	c, env := a.sync(t, `version: 1
registries: {myregistry.azurecr.io: {azure: {}}}
azure: {import: {rate: 10, parallel: 12}}
mappings:
  - {source: mysource.azurecr.io/many, target: myregistry.azurecr.io/many, tags: ["v*"], referrers: false}
`)
	if n := len(a.run(t, c, env...)); n != tags {
		t.Errorf("%d imports", n)
	}
	lookups := map[string]int{}
	for _, r := range a.cloud.Management.Requests() {
		if !strings.Contains(r.Path, "importImage") {
			lookups[r.Method+" "+r.Path]++
		}
	}
	if diff := cmp.Diff(map[string]int{"GET /subscriptions": 2, "POST /providers/Microsoft.ResourceGraph/resources": 2}, lookups); diff != "" {
		t.Errorf("looking up two registries takes (-want +got):\n%s", diff)
	}
}

// TestAzureDocument runs each config of docs/azure.md as it stands, and compares what it asks Azure for with what Azure's own command line
// sends for the line beside it: the program itself where it is installed, and what was recorded of it in any case.
func TestAzureDocument(t *testing.T) {
	fulltest.Long(t)
	t.Parallel()
	all := scenarios(t)
	sent := azSends(t, all)
	a := newArticle(t)
	for _, s := range all {
		c, env := a.sync(t, s.config)
		imports := a.run(t, c, env...)
		if len(imports) != 1 {
			t.Errorf("%s: %d imports", s.name, len(imports))
			continue
		}
		want := sent[s.name]
		if !strings.Contains(s.config, "resolve: server") {
			want = pinned(want, imports[0].Digest)
		}
		if diff := cmp.Diff(want, imports[0].Body); diff != "" {
			t.Errorf("%s: dray asks for something else than az (-az +dray):\n%s", s.name, diff)
		}
	}
	if leaks := a.cloud.Account().Leaks; len(leaks) > 0 {
		t.Errorf("%+v", leaks)
	}
}

var sourceImage = regexp.MustCompile(`("sourceImage": "[^":@]+):[^"]+"`)

// pinned is a request by digest instead of a tag.
func pinned(body, digest string) string {
	return sourceImage.ReplaceAllString(body, "${1}@"+digest+`"`)
}

// recordedAZ is what Azure's command line sends, by scenario.
const recordedAZ = "../../internal/emulator/azure/testdata/az.json"

// azSends returns what Azure's command line sends, by scenario: what was recorded, and is compared with the program where
// everything is tested.
func azSends(t *testing.T, all []scenario) map[string]string {
	t.Helper()
	raw, err := os.ReadFile(recordedAZ)
	if err != nil {
		t.Fatal(err)
	}
	recorded := map[string]string{}
	if err := json.Unmarshal(raw, &recorded); err != nil {
		t.Fatal(err)
	}
	if !fulltest.Enabled() {
		t.Log("comparing with what was recorded of Azure's command line")
		return recorded
	}
	fulltest.Program(t, "az", "Debian's package azure-cli")
	a := newArticle(t)
	a.run(t, exec.Command("az", "login", "--service-principal", "-u", azureClient, "-p", azureSecret, "--tenant", azureTenant))
	sent := map[string]string{}
	for _, s := range append(all, scenario{"A tag that is there", "--name myregistry --source mysource.azurecr.io/app:latest --image hello-world:latest --force", ""}) {
		imports := a.run(t, exec.Command("sh", "-c", "az acr import "+a.named(s.az))) //nolint:gosec // it is the document's
		if len(imports) != 1 {
			t.Fatalf("%s: az begins %d imports", s.name, len(imports))
		}
		sent[s.name] = imports[0].Body
		repository, tag, tagged := strings.Cut(slices.Concat(imports[0].TargetTags, imports[0].Untagged)[0], ":")
		if !tagged {
			tag = imports[0].Digest
		}
		if got := a.target.Content.Digest(repository, tag); got != imports[0].Digest || got == "" {
			t.Errorf("%s: %s:%s holds %q after az, want %s", s.name, repository, tag, got, imports[0].Digest)
		}
	}
	if *updateAZ {
		writeJSON(t, recordedAZ, sent)
		return sent
	}
	if diff := cmp.Diff(recorded, sent); diff != "" {
		t.Errorf("az sends something else than was recorded; go test ./cmd/dray -run AzureDocument -update-az (-recorded +sent):\n%s", diff)
	}
	return sent
}

func writeJSON(t *testing.T, path string, content any) {
	t.Helper()
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(content); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestAzureImport imports single images without a config file: Azure brings what goes to a registry of its own, by the default credential, and
// the source is signed in to by what is said on the command line.
func TestAzureImport(t *testing.T) {
	t.Parallel()
	fulltest.Long(t)
	a := newArticle(t)
	entra := a.foreign.Token(a.stranger, "https://containerregistry.azure.net", 0)
	refresh := a.abroad.RefreshToken(a.stranger)
	credentials := func(user, password string) string {
		if user != "" {
			user = `"username": "` + user + `", `
		}
		return `"credentials": {` + user + `"password": "` + password + `"}`
	}
	for _, c := range []struct {
		name, line, stdin string
		// sent are parts of the request to Azure; none where dray copies.
		sent []string
		at   string
	}{
		{"Docker Hub", "docker.io/library/hello-world:latest myregistry.azurecr.io/one", "", []string{`"registryUri": "docker.io", "sourceImage": "library/hello-world@`, `"one:latest"`}, "one:latest"},
		{"a registry of ours", "mysource.azurecr.io/app:latest myregistry.azurecr.io/two --engine acr", "", []string{a.source.ID()}, "two:latest"},
		{"copied", "mysource.azurecr.io/app:latest myregistry.azurecr.io/three --engine copy", "", nil, "three:latest"},
		{"a user", "registry.example.com/team/app:v1 myregistry.azurecr.io/four --username ann --password-stdin", "ann's-password\n", []string{credentials("ann", "ann's-password")}, "four:v1"},
		{"a token of Entra", "abroadsource.azurecr.io/app:v1 myregistry.azurecr.io/five --password-stdin", entra, []string{credentials("", entra)}, "five:v1"},
		{"a token of Entra, copied", "abroadsource.azurecr.io/app:v1 myregistry.azurecr.io/six --password-stdin --engine copy", entra, nil, "six:v1"},
		{"a refresh token", "abroadsource.azurecr.io/app:v1 myregistry.azurecr.io/seven --identity-token-stdin", refresh, nil, "seven:v1"},
	} {
		command := exec.Command(os.Args[0], append([]string{"import"}, strings.Fields(c.line)...)...) //nolint:gosec // it is ours
		command.Stdin = strings.NewReader(c.stdin)
		imports := a.run(t, command, asDray+"=1")
		if len(imports) > 1 || (len(imports) == 1) != (c.sent != nil) {
			t.Errorf("%s: %d imports by Azure", c.name, len(imports))
			continue
		}
		for _, part := range c.sent {
			if !strings.Contains(imports[0].Body, part) {
				t.Errorf("%s: the request lacks %s", c.name, part)
			}
		}
		if repository, tag, _ := strings.Cut(c.at, ":"); a.target.Content.Digest(repository, tag) == "" {
			t.Errorf("%s: there is no %s", c.name, c.at)
		}
	}
	if leaks := a.cloud.Account().Leaks; len(leaks) > 0 {
		t.Errorf("%+v", leaks)
	}
}

// TestAzureImportByDocker: where Azure cannot be signed in to, what docker login has left still brings an image to a registry of Azure's.
func TestAzureImportByDocker(t *testing.T) {
	fulltest.Long(t)
	t.Parallel()
	a := newArticle(t)
	a.target.Change(func(o *azure.RegistryOptions) { o.AdminPassword = "admin-password" })
	home := t.TempDir()
	auth := `{"auths": {"myregistry.azurecr.io": {"username": "myregistry", "password": "admin-password"}}}`
	if err := os.WriteFile(filepath.Join(home, "config.json"), []byte(auth), 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.Command(os.Args[0], "import", "docker.io/library/hello-world:latest", "myregistry.azurecr.io/hello-world")
	// Without az in PATH: Azure's SDK gives up on one that is slow, which then still writes into the test's folder.
	imports := a.run(t, command, asDray+"=1", "PATH=/nonexistent", "DOCKER_CONFIG="+home, "AZURE_TENANT_ID=", "AZURE_CLIENT_ID=", "AZURE_CLIENT_SECRET=")
	if got := a.target.Content.Digest("hello-world", "latest"); got == "" || len(imports) > 0 {
		t.Errorf("hello-world:latest holds %q, after %d imports by Azure", got, len(imports))
	}
}
