package main

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/draysync/dray/internal/emulator/azure"
	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
)

// said runs dray with a config, and returns what it says on both streams and how long that took.
func (a *article) said(t *testing.T, config string, command []string, more ...string) (text string, took time.Duration) {
	t.Helper()
	c, env := a.sync(t, config)
	c.Args = append([]string{c.Args[0]}, append(command, c.Args[2:]...)...)
	c.Env = append(append(a.env, env...), more...)
	begun := time.Now()
	out, _ := c.CombinedOutput() // what it says is looked at
	return string(out), time.Since(begun)
}

// TestAzureWords: what is said of an Azure is whole, and said once.
func TestAzureWords(t *testing.T) {
	t.Parallel()
	fulltest.Long(t)
	a := newArticle(t)
	const ours = "version: 1\nregistries: {myregistry.azurecr.io: {azure: {}}}\nmappings:\n"
	group := strings.Repeat("a-long-name-of-a-group-", 3) + "end"
	bare := a.ours.AddRegistry(azure.RegistryOptions{Name: "barerights", Group: group})
	a.app.Grant(bare.ID(), azure.AcrPull)
	text, _ := a.said(t, "version: 1\nregistries: {barerights.azurecr.io: {azure: {resourceID: "+bare.ID()+"}}}\nmappings:\n"+
		"  - {source: docker.io/library/hello-world:latest, target: barerights.azurecr.io/hello, engine: acr, retries: 0}\n", []string{"sync"})
	if want := fmt.Sprintf(`--role "Container Registry Data Importer and Data Reader" --scope "%s"`, bare.ID()); !strings.Contains(text, want) {
		t.Errorf("the line that grants the role is not whole:\n%s", text)
	}
	a.target.Lock("staging/app", "v1", true)
	text, _ = a.said(t, ours+"  - {source: docker.io/library/hello-world:latest, target: myregistry.azurecr.io/staging/app:v1, engine: acr}\n", []string{"sync"})
	if n := strings.Count(text, "the tag is locked"); n != 2 { // in the log, and in the answer
		t.Errorf("a locked tag is told of %d times:\n%s", n, text)
	}
	text, _ = a.said(t, ours+"  - {source: docker.io/library/hello-world:latest, target: myregistry.azurecr.io/hello-world}\n", []string{"check", "--online"}, "AZURE_CLIENT_SECRET=wrong")
	if strings.Count(text, "sign in") > 1 {
		t.Errorf("a prefix is doubled:\n%s", text)
	}
	text, _ = a.said(t, ours+"  - {source: hidden.example.com/app:v1, target: myregistry.azurecr.io/app, engine: acr, resolve: server}\n", []string{"check", "--online"})
	if strings.Contains(text, "hidden.example.com") {
		t.Errorf("a source that only Azure reaches is asked:\n%s", text)
	}
}

// TestAzureClosed: a target whose network rules refuse dray is imported into by Azure, once, and check says that nothing of it is verified.
func TestAzureClosed(t *testing.T) {
	t.Parallel()
	fulltest.Long(t)
	a := newArticle(t)
	a.target.Change(func(o *azure.RegistryOptions) { o.NoPublicAccess = true })
	const mapping = "mappings:\n  - {source: docker.io/library/hello-world:latest, target: myregistry.azurecr.io/hello-world}\n"
	for plane, want := range map[string]string{"auto": "cannot be read", "none": "is not read"} {
		text, _ := a.said(t, "version: 1\nregistries: {myregistry.azurecr.io: {azure: {dataPlane: "+plane+"}}}\n"+mapping, []string{"check", "--online"})
		if !strings.Contains(text, "! myregistry.azurecr.io "+want) || strings.Contains(text, "x myregistry.azurecr.io") {
			t.Errorf("%s:\n%s", plane, text)
		}
	}
	text, _ := a.said(t, "version: 1\nregistries: {myregistry.azurecr.io: {azure: {dataPlane: required}}}\n"+mapping, []string{"check", "--online"})
	if !strings.Contains(text, "x myregistry.azurecr.io") {
		t.Errorf("required:\n%s", text)
	}
	config := "version: 1\nstateDir: " + t.TempDir() + "\nregistries: {myregistry.azurecr.io: {azure: {}}}\n" + mapping
	for run, want := range []string{"1 imported", "1 unchanged"} {
		if text, _ := a.said(t, config, []string{"sync"}); !strings.Contains(text, want) {
			t.Errorf("run %d:\n%s", run+1, text)
		}
	}
}

// TestAzureNoCredential: behind a proxy that answers nothing, dray still says within seconds that this machine has no credential for Azure.
func TestAzureNoCredential(t *testing.T) {
	t.Parallel()
	proxy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	a := &article{}
	address := "http://" + proxy.Addr().String()
	text, took := a.said(t, "version: 1\nregistries: {myregistry.azurecr.io: {azure: {}}}\nmappings:\n  - {source: ocidir:///nosuch:v1, target: myregistry.azurecr.io/app}\n",
		[]string{"check", "--online"}, "PATH=/nonexistent", "HOME="+t.TempDir(), "HTTP_PROXY="+address, "HTTPS_PROXY="+address)
	if !strings.Contains(text, "AZURE_SIGN_IN") || took > 30*time.Second {
		t.Errorf("after %s:\n%s", took, text)
	}
}

// TestAzureStopped: an import that Azure goes on with while dray is stopped is no error, since the next start takes it up, and begins no other.
func TestAzureStopped(t *testing.T) {
	fulltest.Long(t)
	t.Parallel()
	for _, command := range []string{"sync", "run"} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			d := newAzureDesk(t, time.Millisecond)
			end := d.hold(t)
			if err := registry.SingleArch(1, "linux/amd64", registry.ImageOptions{LayerSize: 100}).Push(d.source.Content, "app", "v1"); err != nil {
				t.Fatal(err)
			}
			path := d.config(t, mapping("source: sourceregistry-b2c3.azurecr.io/app:v1, target: targetregistry.azurecr.io/app, engine: acr, referrers: false"),
				"shutdownGrace: 100ms", "server: {listen: ''}")
			var out, log bytes.Buffer
			c := d.command(&out, &log, command, "-c", path, "--log-format", "json")
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			d.polled(t, 1)
			if err := c.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			_ = c.Wait() // it was stopped
			if strings.Contains(log.String(), `"level":"ERROR"`) || strings.Contains(out.String(), "error:") {
				t.Errorf("%s\n%s", out.String(), log.String())
			}
			if c = d.command(&out, &log, "sync", "-c", path); c.Start() != nil {
				t.Fatal("it does not start")
			}
			d.polled(t, d.cloud.Account().Polls+2)
			end()
			if err := c.Wait(); err != nil || !strings.Contains(out.String(), "1 imported") {
				t.Errorf("the next start: %v\n%s\n%s", err, out.String(), log.String())
			}
			if n := len(d.cloud.Account().Imports); n != 1 {
				t.Errorf("%d imports were begun", n)
			}
		})
	}
}
