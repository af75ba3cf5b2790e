package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/emulator/registry/registrytest"
	"github.com/draysync/dray/internal/fulltest"
)

// proxied starts a counting proxy before a registry.
func proxied(t *testing.T, url string, latency time.Duration) (*registry.Proxy, string) {
	t.Helper()
	proxy, err := registry.NewProxy(url, latency)
	if err != nil {
		t.Fatal(err)
	}
	server, err := proxy.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return proxy, server.Host
}

func start(t *testing.T, r *registry.Registry) string {
	t.Helper()
	server, err := r.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return server.Host
}

// TestOneImageUnderManyTags brings new images to Debian's registry under ten tags each in two repositories, all at once: the registry tells
// some that a manifest is not there while it is written for others, so dray does not have them written at once.
func TestOneImageUnderManyTags(t *testing.T) {
	t.Parallel()
	target := registrytest.RequireProcess(t)
	source := registry.New(registry.Options{})
	host := start(t, source)
	for round := range 10 {
		image := registry.MultiArch(int64(500+round), registry.ImageOptions{LayerSize: 1000})
		repo := fmt.Sprintf("app%d", round)
		for tag := range 10 {
			if err := image.Push(source, repo, fmt.Sprintf("v%d", tag)); err != nil {
				t.Fatal(err)
			}
		}
		config := writeConfig(t, "mappings:",
			mapping("name: a, source: '%s/%s', target: '%s/a/%s', tags: ['*']", host, repo, target.Host, repo),
			mapping("name: b, source: '%s/%s', target: '%s/b/%s', tags: ['*']", host, repo, target.Host, repo))
		if doc, a := drayJSON(t, "sync", "-c", config); a.code != exitDone || doc.Totals.Import != 20 {
			t.Fatalf("round %d: exit code %d, %+v\n%s", round, a.code, doc.Totals, a.err)
		}
	}
}

// TestIndexBesideTagsOnItsChildren brings new indexes to Debian's registry beside tags on their children: the registry writes the link of
// a manifest in place whenever it is tagged, and refuses an index (DIGEST_INVALID) for which it reads that meanwhile.
func TestIndexBesideTagsOnItsChildren(t *testing.T) {
	t.Parallel()
	target := registrytest.RequireProcess(t)
	source := registry.New(registry.Options{})
	host := start(t, source)
	const versions = 12
	for version := range versions {
		image, tag := registry.MultiArch(int64(700+version), registry.ImageOptions{LayerSize: 100}), fmt.Sprintf("2.0.%d", version)
		if err := image.Push(source, "app", tag); err != nil {
			t.Fatal(err)
		}
		for _, m := range image.Manifests[:len(image.Manifests)-1] {
			if err := source.PutTag("app", tag+strings.ReplaceAll(strings.TrimPrefix(m.Platform, "linux"), "/", "-"), m.Digest); err != nil {
				t.Fatal(err)
			}
		}
	}
	for round := range 6 { // of 20, 19 failed when an index did not wait
		config := writeConfig(t, "mappings:", mapping("source: '%s/app', target: '%s/round%d/app', tags: ['*'], retries: 0", host, target.Host, round))
		if doc, a := drayJSON(t, "sync", "-c", config); a.code != exitDone || doc.Totals.Import != 3*versions {
			t.Errorf("round %d: exit code %d, %+v\n%s", round, a.code, doc.Totals, a.err)
		}
	}
}

// TestRealRegistries mirrors 60 images between two registries of Debian, has an independent client look at all that arrived,
// and counts on the wire what a second run costs.
func TestRealRegistries(t *testing.T) {
	source, target := registrytest.RequireProcess(t), registrytest.RequireProcess(t)
	corpus := registry.Corpus{Repositories: 10, Tags: 6, SharedLayers: 2, Image: registry.ImageOptions{LayerSize: 20_000}}
	digests, err := corpus.PushTo(t.Context(), nil, source.URL)
	if err != nil {
		t.Fatal(err)
	}
	toSource, sourceHost := proxied(t, source.URL, 0)
	toTarget, targetHost := proxied(t, target.URL, 0)
	lines := []string{"mappings:"}
	seen := map[string]bool{}
	for key := range digests {
		repo, _, _ := strings.Cut(key, ":")
		if !seen[repo] {
			seen[repo] = true
			lines = append(lines, mapping("source: '%s/%s', target: '%s/mirror/%s', tags: ['*']", sourceHost, repo, targetHost, repo))
		}
	}
	config := writeConfig(t, lines...)

	doc, a := drayJSON(t, "sync", "-c", config)
	if a.code != exitDone || doc.Totals.Import != 60 || doc.Totals.Failed != 0 {
		t.Fatalf("first sync: exit code %d, %+v\n%s", a.code, doc.Totals, a.err)
	}
	for key, digest := range digests {
		repo, tag, _ := strings.Cut(key, ":")
		lookAtAll(t, fmt.Sprintf("%s/mirror/%s:%s", target.Host, repo, tag), digest)
	}

	toSource.Reset()
	toTarget.Reset()
	doc, a = drayJSON(t, "sync", "-c", config)
	if a.code != exitDone || doc.Totals.Keep != 60 || doc.Totals.Import != 0 {
		t.Fatalf("second sync: exit code %d, %+v\n%s", a.code, doc.Totals, a.err)
	}
	for side, proxy := range map[string]*registry.Proxy{"source": toSource, "target": toTarget} {
		for _, r := range proxy.Requests() {
			if r.Method != http.MethodHead && r.Kind != registry.KindTags {
				t.Errorf("second sync: %s %s at the %s", r.Method, r.Path, side)
			}
		}
	}
	if n := len(toTarget.Requests()); n != 60 {
		t.Errorf("second sync: %d requests to the target, want one HEAD for each of the 60 tags", n)
	}
}

// lookAtAll checks with go-containerregistry's client that a tag has the digest and that everything below it is there.
func lookAtAll(t *testing.T, ref, digest string) {
	t.Helper()
	tag, err := name.NewTag(ref, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	index, err := remote.Index(tag)
	if err != nil {
		t.Fatalf("%s: %v", ref, err)
	}
	if got, err := index.Digest(); err != nil || got.String() != digest {
		t.Errorf("%s has digest %s (%v), the source %s", ref, got, err, digest)
	}
	manifest, err := index.IndexManifest()
	if err != nil || len(manifest.Manifests) != 2 {
		t.Fatalf("%s: %v, %d platforms", ref, err, len(manifest.Manifests))
	}
	for _, child := range manifest.Manifests {
		image, err := index.Image(child.Digest)
		if err != nil {
			t.Fatalf("%s: %v", ref, err)
		}
		if err := readLayers(image); err != nil {
			t.Errorf("%s, %s: %v", ref, child.Platform, err)
		}
	}
}

// readLayers reads the config and all layers; the client checks their digests.
func readLayers(image v1.Image) error {
	if _, err := image.RawConfigFile(); err != nil {
		return err
	}
	layers, err := image.Layers()
	if err != nil {
		return err
	}
	for _, layer := range layers {
		body, err := layer.Compressed()
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, body); err != nil {
			return err
		}
		if err := body.Close(); err != nil {
			return err
		}
	}
	return nil
}

// TestThreeFaultsAtOnce has a manifest missing, a blob corrupt and a registry down, and wants all else to arrive and each
// fault to be told in one line.
func TestThreeFaultsAtOnce(t *testing.T) {
	fulltest.Long(t)
	t.Parallel()
	content, copied := registry.New(registry.Options{}), registry.New(registry.Options{})
	corpus := registry.Corpus{Prefix: "in/", Repositories: 2, Tags: 4}
	if _, err := content.Fill(corpus); err != nil {
		t.Fatal(err)
	}
	bad := registry.MultiArch(77, registry.ImageOptions{})
	if err := bad.Push(content, "in/app-01", "corrupt"); err != nil {
		t.Fatal(err)
	}
	blob := bad.Blobs[1].Digest
	content.Inject(registry.Fault{Match: func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/blobs/"+blob) }, FlipByte: 3})
	content.Inject(registry.Fault{Match: func(r *http.Request) bool {
		return strings.HasSuffix(r.URL.Path, "/manifests/1.1.0") && strings.Contains(r.URL.Path, "app-00")
	}, Status: http.StatusNotFound})
	source, target := start(t, content), start(t, copied)
	const gone = "127.0.0.1:1" // a port that was free a moment ago may be another test's by now
	config := writeConfig(t, "mappings:",
		mapping("name: missing, source: '%s/in/app-00', target: '%s/out/app-00', tags: ['*']", source, target),
		mapping("name: corrupt, source: '%s/in/app-01', target: '%s/out/app-01', tags: ['*']", source, target),
		mapping("name: down, source: '%s/in/app-02', target: '%s/out/app-02', tags: ['1', '2']", gone, target),
		mapping("name: unlisted, source: '%s/in/app-03', target: '%s/out/app-03', tags: ['*']", gone, target))

	doc, a := drayJSON(t, "sync", "-c", config)
	if a.code != exitPartly {
		t.Errorf("exit code %d, want %d", a.code, exitPartly)
	}
	if doc.Totals.Import != 7 || doc.Totals.Failed != 5 {
		t.Errorf("totals %+v, want 7 imported and 5 failed", doc.Totals)
	}
	for _, ref := range []string{"app-00:1.0.0", "app-00:1.2.0", "app-00:1.3.0", "app-01:1.0.0", "app-01:1.1.0", "app-01:1.2.0", "app-01:1.3.0"} {
		repo, tag, _ := strings.Cut(ref, ":")
		if err := copied.Whole("out/"+repo, tag); err != nil || copied.Digest("out/"+repo, tag) != content.Digest("in/"+repo, tag) {
			t.Errorf("%s did not arrive: %v", ref, err)
		}
	}
	if copied.Digest("out/app-01", "corrupt") != "" {
		t.Error("the corrupt image has its tag")
	}

	text := dray(t, "sync", "-c", config)
	for _, want := range [][]string{
		{"job missing", "source " + source + "/in/app-00:1.1.0", "404"},
		{"job corrupt", "source " + source + "/in/app-01@" + blob, "does not match its digest"},
		{"job down", gone, "connection refused", "2 times", "/out/app-02:1", "/out/app-02:2"},
		{"job unlisted", "source " + gone + "/in/app-03", "connection refused"},
	} {
		if !hasLine(text.out+text.err, want) {
			t.Errorf("no line holds %q in:\n%s", want, text.out)
		}
	}
}

// hasLine tells whether one line of text holds all the parts.
func hasLine(text string, parts []string) bool {
	for line := range strings.SplitSeq(text, "\n") {
		found := strings.HasPrefix(line, "error: ")
		for _, part := range parts {
			found = found && strings.Contains(line, part)
		}
		if found {
			return true
		}
	}
	return false
}

// TestWaitStaysUntilDone has the source ask for half a minute of peace: without --wait the image is deferred, with it the
// command waits and brings it.
func TestWaitStaysUntilDone(t *testing.T) {
	fulltest.Long(t)
	t.Parallel()
	content, copied := registry.New(registry.Options{}), registry.New(registry.Options{})
	if err := registry.SingleArch(1, "linux/amd64", registry.ImageOptions{}).Push(content, "in/app", "1"); err != nil {
		t.Fatal(err)
	}
	header, asks := http.Header{}, 40*time.Second // more than dray waits in a run
	limited := registry.Fault{
		Match: func(r *http.Request) bool {
			if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/manifests/") {
				return false
			}
			header.Set("Retry-After", fmt.Sprint(time.Now().Add(asks).Unix()))
			return true
		},
		Status: http.StatusTooManyRequests, Header: header,
	}
	heal := content.Inject(limited)
	source, target := start(t, content), start(t, copied)
	config := writeConfig(t, "mappings:", mapping("source: '%s/in/app:1', target: '%s/out/app', referrers: false", source, target))
	doc, a := drayJSON(t, "sync", "-c", config)
	if a.code != exitPartly || doc.Totals.Deferred != 1 || doc.Jobs[0].Actions[0].RetryAt == nil {
		t.Fatalf("exit code %d, %+v\n%s", a.code, doc.Totals, a.out)
	}
	heal()
	asks, limited.Times = 31*time.Second, 1
	content.Inject(limited)
	if doc, a = drayJSON(t, "sync", "--wait", "-c", config); a.code != exitDone || doc.Totals.Import != 1 || doc.Totals.Deferred != 0 {
		t.Errorf("with --wait: exit code %d, %+v\n%s", a.code, doc.Totals, a.out)
	}
	if err := copied.Whole("out/app", "1"); err != nil {
		t.Error(err)
	}
}
