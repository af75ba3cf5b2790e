package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/draysync/dray/internal/emulator/azure"
	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/report"
)

// azureDesk is an Azure behind a proxy, and what a process needs to reach it.
type azureDesk struct {
	cloud          *azure.Cloud
	source, target *azure.Registry
	hub            *registry.Registry
	app            *azure.App
	env            []string
	dir            string
	program        string
}

const (
	azureTenant       = "11111111-1111-1111-1111-111111111111"
	azureSubscription = "33333333-3333-3333-3333-333333333333"
	azureClient       = "55555555-5555-5555-5555-555555555555"
	azureSecret       = "the-app's-secret~1"
)

func newAzureDesk(t *testing.T, takes time.Duration) *azureDesk {
	t.Helper()
	d := &azureDesk{hub: registry.New(registry.Options{}), dir: t.TempDir(), program: os.Args[0]}
	d.cloud = azure.New(azure.Options{Takes: takes, Outside: map[string]http.Handler{"docker.io": azure.HideUnknown(d.hub)}})
	t.Cleanup(d.cloud.Close)
	tenant := d.cloud.AddTenant(azureTenant)
	sub := tenant.AddSubscription(azureSubscription)
	d.app = tenant.AddApp(azure.AppOptions{ClientID: azureClient, Secret: azureSecret})
	d.target = sub.AddRegistry(azure.RegistryOptions{Name: "targetregistry"})
	d.source = sub.AddRegistry(azure.RegistryOptions{Name: "sourceregistry", Hash: "b2c3"})
	for _, r := range []*azure.Registry{d.target, d.source} {
		d.app.Grant(r.ID(), azure.DataImporter)
	}
	proxy, err := d.cloud.StartProxy()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	ca := d.write(t, "ca.pem", string(proxy.CA))
	d.env = []string{
		asDray + "=1", "HOME=" + d.dir, "HTTPS_PROXY=" + proxy.URL, "HTTP_PROXY=" + proxy.URL, "SSL_CERT_FILE=" + ca, "AZURE_SECRET=" + azureSecret,
	}
	return d
}

func (d *azureDesk) write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(d.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// config writes a config.
func (d *azureDesk) config(t *testing.T, mappings ...string) string {
	t.Helper()
	return d.write(t, "dray.yaml", d.text(mappings...))
}

// text is a config with what all mappings need.
func (d *azureDesk) text(mappings ...string) string {
	return strings.Join(append([]string{
		"version: 1", "stateDir: state", "registries:",
		"  targetregistry.azurecr.io: {azure: {}}",
		"  sourceregistry-b2c3.azurecr.io: {azure: {resourceID: " + d.source.ID() + "}}",
		"azure:",
		"  credential: {kind: client-secret, tenantID: " + azureTenant + ", clientID: " + azureClient + ", clientSecret: '${env:AZURE_SECRET}'}",
		"mappings:",
	}, mappings...), "\n")
}

// dray runs a process, and returns what it said and its peak of memory in bytes.
func (d *azureDesk) dray(t *testing.T, args ...string) (a answer, memory int64) {
	t.Helper()
	var out, log bytes.Buffer
	c := d.command(&out, &log, args...)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	var err error
	for running := true; running; {
		select {
		case err = <-ended:
			running = false
		case <-time.After(20 * time.Millisecond):
			memory = max(memory, peak(c.Process.Pid))
		}
	}
	a = answer{c.ProcessState.ExitCode(), out.String(), log.String()}
	if strings.Contains(a.out+a.err, azureSecret) || strings.Contains(a.out+a.err, "eyJ") {
		t.Error("a secret is in the output")
	}
	if err != nil && a.code < 0 {
		t.Fatal(err)
	}
	return a, memory
}

// peak is the peak of a process's memory by now, in bytes; 0 where the system does not tell. What the system tells of a process that has
// ended includes its parent's, of which it was forked.
func peak(pid int) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var kilobytes int64
	_, _ = fmt.Sscan(rest, &kilobytes) // 0 where there is none
	return kilobytes << 10
}

func (d *azureDesk) command(out, log *bytes.Buffer, args ...string) *exec.Cmd {
	c := exec.Command(d.program, args...)
	c.Env, c.Stdout, c.Stderr = d.env, out, log
	return c
}

// TestAzure plans and syncs by the real program, with a sign-in by the config alone: the registry imports from Docker Hub by itself, what
// has platforms chosen is copied, and both are said in the plan.
func TestAzure(t *testing.T) {
	fulltest.Long(t)
	t.Parallel()
	d := newAzureDesk(t, time.Second)
	hello, alpine := registry.MultiArch(1, registry.ImageOptions{}), registry.MultiArch(2, registry.ImageOptions{})
	for name, i := range map[string]registry.Image{"library/hello-world": hello, "library/alpine": alpine} {
		if err := i.Push(d.hub, name, "latest"); err != nil {
			t.Fatal(err)
		}
	}
	d.app.Grant(d.target.ID(), azure.AcrPush)
	config := d.config(t,
		mapping("source: hello-world:latest, target: targetregistry.azurecr.io/hello-world, referrers: false"),
		mapping("source: alpine:latest, target: targetregistry.azurecr.io/alpine, platforms: [linux/amd64], referrers: false"))
	unseen := registry.MultiArch(3, registry.ImageOptions{})
	if err := unseen.Push(d.source.Content, "unseen", "v1"); err != nil {
		t.Fatal(err)
	}
	a, _ := d.dray(t, "check", "-c", config, "--online")
	if a.code != exitDone || !strings.Contains(a.out, "targetregistry.azurecr.io as Entra ID, application "+d.app.ClientID) {
		t.Errorf("exit code %d\n%s\n%s", a.code, a.out, a.err)
	}
	a, _ = d.dray(t, "plan", "-c", config)
	for _, want := range []string{
		"docker.io/library/hello-world → targetregistry.azurecr.io/hello-world (acr: Azure can import it by itself)",
		"docker.io/library/alpine → targetregistry.azurecr.io/alpine (copy: some platforms are chosen, and Azure imports all of them)",
	} {
		if !strings.Contains(a.out, want) {
			t.Errorf("the plan lacks %q:\n%s\n%s", want, a.out, a.err)
		}
	}
	a, _ = d.dray(t, "sync", "-c", config, "-o", "json")
	var doc report.Document
	if err := json.Unmarshal([]byte(a.out), &doc); err != nil || a.code != exitDone || doc.Totals.Import != 2 {
		t.Fatalf("exit code %d, %v\n%s\n%s", a.code, err, a.out, a.err)
	}
	if got := d.target.Content.Digest("hello-world", "latest"); got != hello.Digest || d.target.Content.Digest("alpine", "latest") == "" {
		t.Errorf("hello-world holds %q", got)
	}
	if !strings.Contains(a.err, "engine chosen") || !strings.Contains(a.err, "some platforms are chosen") {
		t.Errorf("the reason is not in the log:\n%s", a.err)
	}
	if a, _ = d.dray(t, "sync", "-c", config); !strings.Contains(a.out, "2 unchanged") {
		t.Errorf("%s\n%s", a.out, a.err)
	}
	if n := len(d.cloud.Account().Imports); n != 1 {
		t.Errorf("%d imports", n)
	}
	d.source.Change(func(o *azure.RegistryOptions) { o.NoPublicAccess = true })
	config = d.config(t, mapping("source: sourceregistry-b2c3.azurecr.io/unseen, target: targetregistry.azurecr.io/unseen, tags: [v1], engine: acr, resolve: server"))
	if a, _ = d.dray(t, "plan", "-c", config); !strings.Contains(a.out, "+ v1  imported to see what is new: only the registry can ask the source") {
		t.Errorf("%s\n%s", a.out, a.err)
	}
	if a, _ = d.dray(t, "sync", "-c", config); a.code != exitDone || d.target.Content.Digest("unseen", "v1") != unseen.Digest {
		t.Errorf("exit code %d\n%s\n%s", a.code, a.out, a.err)
	}
	if a, _ = d.dray(t, "sync", "-c", config); a.code != exitDone || !strings.Contains(a.out, "1 unchanged") {
		t.Errorf("exit code %d\n%s\n%s", a.code, a.out, a.err)
	}
	if leaks := d.cloud.Account().Leaks; len(leaks) > 0 {
		t.Errorf("%+v", leaks)
	}
}

// TestAzureMovesNoByte imports an image of a gigabyte, of which no blob passes through dray, in a process that stays small.
func TestAzureMovesNoByte(t *testing.T) {
	fulltest.Require(t)
	t.Parallel()
	const layer = 256 << 20
	d := newAzureDesk(t, time.Second)
	d.program = buildProgram(t)
	i := registry.SingleArch(7, "linux/amd64", registry.ImageOptions{Layers: 4, LayerSize: layer})
	if err := i.Push(d.source.Content, "big", "v1"); err != nil {
		t.Fatal(err)
	}
	config := d.config(t, mapping("source: sourceregistry-b2c3.azurecr.io/big:v1, target: targetregistry.azurecr.io/big, engine: acr, referrers: false"))
	a, memory := d.dray(t, "sync", "-c", config)
	if a.code != exitDone || d.target.Content.Digest("big", "v1") != i.Digest {
		t.Fatalf("exit code %d\n%s\n%s", a.code, a.out, a.err)
	}
	blobs := func(r registry.Request) bool { return r.Kind == registry.KindBlob || r.Kind == registry.KindUpload }
	bytes := int64(0)
	for _, r := range append(d.source.Requests(), d.target.Requests()...) {
		bytes += r.BytesOut + r.BytesIn
	}
	t.Logf("an image of %d MB: %d requests for blobs, %d bytes over the registries' wire, %d MiB of memory", i.Size()>>20, d.source.Count(blobs)+d.target.Count(blobs), bytes, memory>>20)
	if n := d.source.Count(blobs) + d.target.Count(blobs); n > 0 || memory > 64<<20 || i.Size() < 4*layer {
		t.Errorf("%d requests for blobs, %d MiB of memory, for %d bytes", n, memory>>20, i.Size())
	}
}

// TestAzureKilled kills the process with SIGKILL while the registry imports: the next one takes the operation up, and begins no other.
func TestAzureKilled(t *testing.T) {
	fulltest.Long(t)
	t.Parallel()
	d := newAzureDesk(t, time.Millisecond)
	end := d.hold(t)
	i := registry.MultiArch(7, registry.ImageOptions{})
	if err := i.Push(d.source.Content, "app", "v1"); err != nil {
		t.Fatal(err)
	}
	config := d.config(t, mapping("source: sourceregistry-b2c3.azurecr.io/app:v1, target: targetregistry.azurecr.io/app, engine: acr, referrers: false"))
	const kills = 2
	for n := range kills + 1 {
		var out, log bytes.Buffer
		c := d.command(&out, &log, "sync", "-c", config)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		d.polled(t, d.cloud.Account().Polls+2)
		if n < kills {
			_ = c.Process.Kill()
			_ = c.Wait() // it was killed
			continue
		}
		end()
		if err := c.Wait(); err != nil || d.target.Content.Digest("app", "v1") != i.Digest || !strings.Contains(log.String(), "taking up an import that was begun before") {
			t.Errorf("%v\n%s\n%s", err, out.String(), log.String())
		}
	}
	if n := len(d.cloud.Account().Imports); n != 1 {
		t.Errorf("%d imports were begun", n)
	}
}

// hold keeps imports from ending until end is called, or the test ends.
func (d *azureDesk) hold(t *testing.T) (end func()) {
	t.Helper()
	ended := make(chan struct{})
	end = sync.OnceFunc(func() { close(ended) })
	t.Cleanup(end)
	d.cloud.Inject(azure.Behavior{RetryAfter: 2 * time.Second, During: func() { <-ended }})
	return end
}

// polled waits until imports were asked for so often. A process that was ended may have asked once more than was seen.
func (d *azureDesk) polled(t *testing.T, times int) {
	t.Helper()
	until(t, "imports are asked for", func() bool { return d.cloud.Account().Polls >= times })
}

// until waits for a condition.
func until(t *testing.T, what string, met func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(time.Minute); !met(); {
		select {
		case <-tick.C:
		case <-end:
			t.Fatal(fmt.Sprint("it takes too long until ", what))
		}
	}
}
