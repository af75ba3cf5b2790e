package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
)

// serveTo runs dray serve until the test ends, and returns its address.
func serveTo(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	log, ended := &journal{}, make(chan int, 1)
	go func() {
		ended <- run(ctx, append([]string{"serve", "--listen", "127.0.0.1:0"}, args...), streams{out: log, err: log, getenv: func(string) (string, bool) { return "", false }})
	}()
	t.Cleanup(func() {
		cancel()
		if code := <-ended; code != exitDone {
			t.Errorf("exit code %d\n%s", code, log)
		}
	})
	for deadline := time.Now().Add(soon); time.Now().Before(deadline); {
		if lines := log.entries(t, "serving layouts"); len(lines) == 1 {
			return lines[0]["target"].(string)
		}
		select {
		case code := <-ended:
			ended <- code
			t.Fatalf("exit code %d\n%s", code, log)
		case <-time.After(time.Millisecond):
		}
	}
	t.Fatal(log)
	return ""
}

// staged returns a folder with a layout for each name of a repository, each with the tag 1, as dray sync writes it.
func staged(t *testing.T, names ...string) string {
	t.Helper()
	source, dir := registry.New(registry.Options{}), t.TempDir()
	from := start(t, source)
	lines := []string{"registries: {'" + from + "': {plainHTTP: true}}", "mappings:"}
	for i, name := range names {
		if err := registry.MultiArch(int64(i), registry.ImageOptions{LayerSize: 100_000}).Push(source, name, "1"); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, mapping("name: %s, source: '%s/%s:1', target: 'ocidir://%s'", name, from, name, filepath.Join(dir, name)))
	}
	if a := dray(t, "sync", "-c", writeConfig(t, lines...)); a.code != exitDone {
		t.Fatal(a.err)
	}
	return dir
}

// TestServe: what dray has written into layouts it serves, and imports again.
func TestServe(t *testing.T) {
	dir := staged(t, "team/app", "tool")
	address := serveTo(t, dir)
	target := registry.New(registry.Options{})
	to := start(t, target)
	names := []string{"team/app", "tool"}
	lines := []string{"registries: {'" + address + "': {plainHTTP: true}, '" + to + "': {plainHTTP: true}}", "mappings:"}
	for _, name := range names {
		lines = append(lines, mapping("name: %[1]s, source: '%[2]s/%[1]s', target: '%[3]s/%[1]s', tags: ['*']", name, address, to))
	}
	config := writeConfig(t, lines...)
	if a := dray(t, "sync", "-c", config); a.code != exitDone {
		t.Fatalf("exit code %d\n%s%s", a.code, a.out, a.err)
	}
	for _, name := range names {
		if target.Digest(name, "1") == "" {
			t.Errorf("%s did not arrive", name)
		}
	}
	for late := time.Now().Add(soon); ; time.Sleep(10 * time.Millisecond) { // an answer is counted once it is given
		metrics := scrape(t, address)
		if strings.Contains(metrics, `dray_serve_requests_total{code="200",kind="blob"}`) && !strings.Contains(metrics, "dray_config_last_reload") {
			break
		}
		if time.Now().After(late) {
			t.Fatal(metrics)
		}
	}
}

// scrape returns the metrics at an address.
func scrape(t *testing.T, address string) string {
	t.Helper()
	response, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestServeRefuses: what dray serve does not begin with.
func TestServeRefuses(t *testing.T) {
	dir := t.TempDir()
	missing, plain := filepath.Join(dir, "missing"), filepath.Join(dir, "file")
	if err := os.WriteFile(plain, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"":                               "name at least one LAYOUT",
		missing:                          "no such file",
		plain:                            "is no folder",
		"a/b=" + missing:                 "no such file",
		dir + " --listen 0.0.0.0:0":      "can be reached by other machines",
		dir + " --listen nowhere":        "listen at nowhere",
		dir + " --listen=":               "--listen is empty",
		dir + " --tls-cert " + plain:     "tls-key",
		dir + " --htpasswd " + plain:     "is not NAME:HASH",
		dir + " --mirror-of docker.io":   "is not HOST=PREFIX",
		dir + " --mirror-of docker.io=A": "is not HOST=PREFIX",
		dir + " --tls-cert " + plain + " --tls-key " + plain: "certificate",
	} {
		if a := dray(t, append([]string{"serve"}, strings.Fields(args)...)...); a.code == exitDone || !strings.Contains(a.err, want) {
			t.Errorf("%s: %d %s", args, a.code, a.err)
		}
	}
	address := serveTo(t, dir, "--listen", "0.0.0.0:0", "--plain-http")
	response, err := http.Get("http://127.0.0.1:" + address[strings.LastIndexByte(address, ':')+1:] + "/v2/")
	if err != nil || response.StatusCode != http.StatusOK {
		t.Errorf("%v, %v", response, err)
	}
}

// TestServeNodes has skopeo, buildah and containerd pull what dray serves: by the name that it has there, and as a mirror of another registry.
func TestServeNodes(t *testing.T) {
	fulltest.Require(t)
	skopeo, buildah, containerd := fulltest.Program(t, "skopeo", "skopeo"), fulltest.Program(t, "buildah", "buildah"), fulltest.Program(t, "containerd", "containerd")
	dir := staged(t, "docker.io/library/tool")
	address := serveTo(t, dir)
	raw, err := os.ReadFile(filepath.Join(dir, "docker.io", "library", "tool", "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	var index struct{ Manifests []struct{ Digest string } }
	if err := json.Unmarshal(raw, &index); err != nil {
		t.Fatal(err)
	}
	digest := index.Manifests[0].Digest
	home := t.TempDir()
	call := func(program string, args ...string) string {
		t.Helper()
		c := exec.CommandContext(t.Context(), program, args...)
		c.Env = append(os.Environ(), "HOME="+home, "TMPDIR="+home)
		out, err := c.CombinedOutput()
		if err != nil {
			t.Errorf("%s %q: %v\n%s", program, args, err, out)
		}
		return string(out)
	}
	conf := filepath.Join(home, "registries.conf")
	text := fmt.Sprintf("[[registry]]\nprefix = \"docker.io\"\nlocation = \"docker.io\"\n[[registry.mirror]]\nlocation = \"%s/docker.io\"\ninsecure = true\n", address)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(home, "copied")
	call(skopeo, "--insecure-policy", "copy", "--all", "--src-tls-verify=false", "docker://"+address+"/docker.io/library/tool:1", "oci:"+copied+":1")
	if a := dray(t, "layout", "verify", copied); a.code != exitDone {
		t.Errorf("skopeo: %s", a.out)
	}
	if got := call(skopeo, "--registries-conf", conf, "inspect", "--no-tags", "--format", "{{.Digest}}", "docker://docker.io/library/tool:1"); strings.TrimSpace(got) != digest {
		t.Errorf("skopeo, by a mirror: %s, want %s", got, digest)
	}
	call(buildah, "--root", home+"/root", "--runroot", home+"/run", "--storage-driver", "vfs", "pull", "--tls-verify=false", "--policy", "always", address+"/docker.io/library/tool:1")

	hosts := filepath.Join(home, "hosts", "_default")
	if err := os.MkdirAll(hosts, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(hosts, "hosts.toml"), fmt.Appendf(nil, "[host.\"http://%s\"]\n  capabilities = [\"pull\", \"resolve\"]\n", address), 0o600); err != nil {
		t.Fatal(err)
	}
	socket, ctr := containerdIn(t, containerd), fulltest.Program(t, "ctr", "containerd")
	if got := call(ctr, "--address", socket, "content", "fetch", "--all-platforms", "--hosts-dir", filepath.Dir(hosts), "docker.io/library/tool:1"); !strings.Contains(got, digest) {
		t.Errorf("containerd: %s", got)
	}
	if got := call(ctr, "--address", socket, "content", "fetch", "--all-platforms", "--plain-http", address+"/docker.io/library/tool:1"); !strings.Contains(got, digest) {
		t.Errorf("containerd, by name: %s", got)
	}
}

// TestServeInDaemon: one process imports into layouts and serves them. A change of what it serves takes effect at the next start, as the log
// says.
func TestServeInDaemon(t *testing.T) {
	source := registry.New(registry.Options{})
	from := start(t, source)
	if err := registry.SingleArch(1, "linux/amd64", registry.ImageOptions{LayerSize: 100}).Push(source, "app", "1"); err != nil {
		t.Fatal(err)
	}
	dir := shortDir(t)
	socket, path := filepath.Join(dir, "sock"), filepath.Join(dir, "dray.yaml")
	write := func(layouts string) {
		t.Helper()
		text := strings.Join([]string{
			"version: 1", "stateDir: state", fmt.Sprintf("server: {listen: 'unix:%s', registry: {listen: '127.0.0.1:0', layouts: [%s]}}", socket, layouts),
			"registries: {'" + from + "': {plainHTTP: true}}", "mappings:",
			mapping("name: app, source: '%s/app:1', target: 'ocidir://%s/stage/team/app', schedule: '@every 1h'", from, dir),
		}, "\n")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("stage")
	r := launch(t, path, socket)
	address := ""
	r.until(t, "the log says where it serves", func() bool { // which another goroutine reads
		lines := r.log.entries(t, "serving layouts")
		if len(lines) > 0 {
			address = lines[0]["target"].(string)
		}
		return address != ""
	})
	digest := ""
	r.until(t, "the image is served", func() bool {
		response, err := http.Head("http://" + address + "/v2/team/app/manifests/1")
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		digest = response.Header.Get("Docker-Content-Digest")
		return response.StatusCode == http.StatusOK
	})
	if digest != source.Digest("app", "1") {
		t.Errorf("%s, want %s", digest, source.Digest("app", "1"))
	}
	through := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	r.until(t, "the daemon's metrics count what is served", func() bool {
		response, err := through.Get("http://daemon/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		raw, err := io.ReadAll(response.Body)
		return err == nil && strings.Contains(string(raw), `dray_serve_requests_total{code="200",kind="manifest"}`)
	})
	write("other")
	r.until(t, "the log names the key", func() bool {
		lines := r.log.entries(t, "a key of the config takes effect only when dray is restarted")
		return len(lines) == 1 && lines[0]["key"] == "server.registry"
	})
	if err := r.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := <-r.ended; err != nil {
		t.Errorf("%v\n%s", err, r.log)
	}
}

// TestServeInCompose: the command of the compose file serves layouts over TLS.
func TestServeInCompose(t *testing.T) {
	text, err := os.ReadFile("../../examples/compose/serve.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, list, ok := strings.Cut(string(text), "\n    command: [serve, ")
	list, _, closed := strings.Cut(list, "]\n")
	if !ok || !closed {
		t.Fatalf("no command in\n%s", text)
	}
	some := httptest.NewTLSServer(nil) // for its certificate
	defer some.Close()
	pair, secrets := some.TLS.Certificates[0], t.TempDir()
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"tls.crt": {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, "tls.key": {Type: "PRIVATE KEY", Bytes: key}} {
		if err := os.WriteFile(filepath.Join(secrets, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	list = strings.NewReplacer("/srv/stage", staged(t, "app"), "/run/secrets", secrets, `":5000"`, "127.0.0.1:0").Replace(list)
	response, err := some.Client().Get("https://" + serveTo(t, strings.Split(list, ", ")...) + "/v2/app/manifests/1")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Error(response.Status)
	}
}
