package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/layout"
)

// TestNames: what each name leads to.
func TestNames(t *testing.T) {
	root := t.TempDir()
	single, stage, second := filepath.Join(root, "single"), filepath.Join(root, "stage"), filepath.Join(root, "second")
	one, two := push(t, single, "v1", 100), push(t, filepath.Join(stage, "team", "app"), "v2", 100)
	push(t, filepath.Join(second, "team", "app"), "v3", 100)
	full := filepath.Join(stage, "bundle")
	four := push(t, full, "v4", 100)
	rename(t, full, "v4", "docker.io/library/alpine:3.20")
	five := push(t, full, "v5", 100)
	rename(t, full, "v5", "registry.corp.example:5000/a/b:5")
	six := push(t, full, "v6", 100)
	rename(t, full, "v6", "registry.corp.example:5000/other:5")
	if err := os.Symlink(single, filepath.Join(stage, "outside")); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(stage, "empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	url := listening(t, Options{
		Layouts: []Layout{{Path: single}, {Path: stage}, {Path: second}, {Name: "x/y", Path: stage}, {Name: "named", Path: single}},
		Mirrors: map[string]string{"quay.io": "team", "ghcr.io": ""},
	})
	for ask1, want := range map[string]string{
		"single/manifests/v1":                                    one.index,
		"named/manifests/v1":                                     one.index,
		"single/manifests/v2":                                    "404",
		"team/app/manifests/v2":                                  two.index,
		"team/app/manifests/v3":                                  "404", // the first layout has the name
		"x/y/team/app/manifests/v2":                              two.index,
		"x/y/manifests/v2":                                       "404",
		"named/team/app/manifests/v2":                            "404",
		"docker.io/library/alpine/manifests/3.20":                four.index,
		"library/alpine/manifests/3.20?ns=docker.io":             four.index,
		"library/alpine/manifests/3.20?ns=INDEX.DOCKER.IO":       four.index,
		"library/alpine/manifests/3.20":                          "404",
		"docker.io/library/alpine/manifests/5":                   "404",
		"docker.io/library/alpine/blobs/" + digestOf(four.layer): four.layer,
		"bundle/manifests/3.20":                                  four.index,
		"bundle/manifests/5":                                     "404", // two images have this tag
		"registry.corp.example/a/b/manifests/5":                  five.index,
		"registry.corp.example/other/manifests/5":                six.index,
		"a/b/manifests/5?ns=registry.corp.example:5000":          five.index,
		"app/manifests/v2?ns=quay.io":                            two.index,
		"team/app/manifests/v2?ns=quay.io":                       two.index,
		"team/app/manifests/v2?ns=ghcr.io":                       two.index,
		"team/app/manifests/v2?ns=gcr.io":                        "404",
		"team/app/manifests/v2?ns=../..":                         "404",
		"outside/manifests/v1":                                   "404", // a link
		"empty/manifests/v1":                                     "404",
	} {
		response, body, err := ask(t, "GET", url+"/v2/"+ask1)
		if err != nil {
			t.Fatal(err)
		}
		if got := body; response.StatusCode != 200 && fmt.Sprint(response.StatusCode) != want || response.StatusCode == 200 && got != want {
			t.Errorf("%s: %d %s, want %s", ask1, response.StatusCode, got, want)
		}
	}
	for path, want := range map[string]string{
		"_catalog": `{"repositories":["bundle","docker.io/library/alpine","named","registry.corp.example/a/b","registry.corp.example/other","single",` +
			`"team/app","x/y/bundle","x/y/team/app"]}`,
		"_catalog?n=1&last=named":               `{"repositories":["registry.corp.example/a/b"]}`,
		"bundle/tags/list":                      `{"name":"bundle","tags":["3.20"]}`,
		"library/alpine/tags/list?ns=docker.io": `{"name":"library/alpine","tags":["3.20"]}`,
	} {
		if _, body, err := ask(t, "GET", url+"/v2/"+path); err != nil || strings.TrimSpace(body) != want {
			t.Errorf("%s: %s, %v", path, body, err)
		}
	}
}

// TestDamaged: what does not match its digest is never whole, however it is asked for, and absent from then on.
func TestDamaged(t *testing.T) {
	fulltest.Long(t)
	const size = 3 << 20
	for _, lines := range []string{"", "Range: bytes=0-", "Range: bytes=1000-1999", "Range: bytes=-1"} {
		for name, harm := range map[string]func(path string) error{
			"a bit": func(path string) error { return writeAt(path, size-1, "!") }, "the first": func(path string) error { return writeAt(path, 0, "!") },
			"truncated": func(path string) error { return os.Truncate(path, size-1) }, "longer": func(path string) error { return writeAt(path, size, "!") },
			"empty": func(path string) error { return os.Truncate(path, 0) },
		} {
			t.Run(lines+" "+name, func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "app")
				s := push(t, dir, "1", size)
				url := listening(t, Options{Layouts: []Layout{{Path: dir}}})
				if err := harm(pathOf(dir, s.layer)); err != nil {
					t.Fatal(err)
				}
				var headers []string
				if lines != "" {
					headers = []string{lines}
				}
				response, body, err := ask(t, "GET", url+"/v2/app/blobs/"+digestOf(s.layer), headers...)
				switch {
				case err == nil && response.StatusCode != 404:
					t.Errorf("status %d, %d bytes", response.StatusCode, len(body))
				case lines != "" && err != nil:
					t.Error(err)
				}
				for _, method := range []string{"GET", "HEAD"} {
					if response, _, err := ask(t, method, url+"/v2/app/blobs/"+digestOf(s.layer)); err != nil || response.StatusCode != 404 {
						t.Errorf("%s again: %v, %v", method, response, err)
					}
				}
				put(t, dir, layerType, s.layer) // repaired
				if _, body, err := ask(t, "GET", url+"/v2/app/blobs/"+digestOf(s.layer)); err != nil || body != s.layer {
					t.Errorf("repaired: %d bytes, %v", len(body), err)
				}
			})
		}
	}
}

func pathOf(dir, text string) string {
	return filepath.Join(dir, "blobs", "sha256", image.DigestOf([]byte(text), "").Encoded())
}

func writeAt(path string, at int64, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt([]byte(text), at)
	return err
}

// TestOutside: nothing outside of a layout is served, and nothing waits for what is no file.
func TestOutside(t *testing.T) {
	root := t.TempDir()
	dir, secret := filepath.Join(root, "app"), filepath.Join(root, "secret")
	s := push(t, dir, "1", 100)
	text := strings.Repeat("a secret", 100_000)
	if err := os.WriteFile(secret, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	url := listening(t, Options{Layouts: []Layout{{Path: dir}}})
	for name, link := range map[string]string{"a blob": pathOf(dir, s.layer), "the name of a secret": pathOf(dir, text), "a manifest": pathOf(dir, s.manifest)} {
		_ = os.Remove(link)
		if err := os.Symlink(secret, link); err != nil {
			t.Fatal(err)
		}
		for _, kind := range []string{"blobs", "manifests"} {
			response, body, err := ask(t, "GET", url+"/v2/app/"+kind+"/sha256:"+filepath.Base(link))
			if err != nil || response.StatusCode < 400 || strings.Contains(body, "a secret") {
				t.Errorf("%s as %s: %v, %v", name, kind, response, err)
			}
		}
	}
}

// TestLinkedLayouts: a layout behind a symbolic link is served if that leads to somewhere in the folder. One that cannot be read is not absent.
func TestLinkedLayouts(t *testing.T) {
	root := t.TempDir()
	push(t, filepath.Join(root, "served", "app"), "1", 100)
	push(t, filepath.Join(root, "secret"), "1", 100)
	for name, to := range map[string]string{"alias": "app", "out": "../secret", "above": ".."} {
		if err := os.Symlink(to, filepath.Join(root, "served", name)); err != nil {
			t.Fatal(err)
		}
	}
	broken := filepath.Join(root, "served", "broken")
	push(t, broken, "1", 100)
	index := filepath.Join(broken, "index.json")
	if err := errors.Join(os.Remove(index), syscall.Mkfifo(index, 0o600)); err != nil {
		t.Fatal(err)
	}
	url := listening(t, Options{Layouts: []Layout{{Path: filepath.Join(root, "served")}}})
	if _, body := get(t, url+"/v2/_catalog"); !strings.Contains(body, `["alias","app"]`) {
		t.Error(body)
	}
	for name, want := range map[string]int{"app": 200, "alias": 200, "out": 404, "above/secret": 404, "broken": 503} {
		if response, body := get(t, url+"/v2/"+name+"/manifests/1"); response.StatusCode != want {
			t.Errorf("%s: %d, %s", name, response.StatusCode, body)
		}
	}
}

// TestReferrers: those that dray lists under the fallback tag and those that others write into index.json are found, once each.
func TestReferrers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "app")
	s := push(t, dir, "1", 100)
	subject := fmt.Sprintf(`"subject":{%s},"annotations":{"n":"%%d"}`, descriptor(image.MediaTypeOCIIndex, s.index))
	config := `"config":{` + put(t, dir, "application/vnd.oci.empty.v1+json", "{}") + `},"layers":[]`
	sbom := `{"schemaVersion":2,"artifactType":"a/sbom",` + config + `,` + fmt.Sprintf(subject, 1) + `}`
	plain := `{"schemaVersion":2,` + config + `,` + fmt.Sprintf(subject, 2) + `}`
	tag(t, dir, "", image.MediaTypeOCIManifest, sbom)
	tag(t, dir, "", image.MediaTypeOCIManifest, plain)
	// As oras has it: an entry of index.json without a tag, and none of the list.
	other := `{"schemaVersion":2,"artifactType":"a/signature",` + config + `,` + fmt.Sprintf(subject, 3) + `}`
	put(t, dir, image.MediaTypeOCIManifest, other)
	raw, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	entries := fmt.Sprintf(`"manifests":[{%s},{%s},`, descriptor(image.MediaTypeOCIManifest, other), descriptor(image.MediaTypeOCIManifest, sbom))
	replace(t, filepath.Join(dir, "index.json"), bytes.Replace(raw, []byte(`"manifests":[`), []byte(entries), 1))

	url := listening(t, Options{Layouts: []Layout{{Path: dir}}})
	list := func(query string) (got []string, header http.Header) {
		t.Helper()
		response, body, err := ask(t, "GET", url+"/v2/app/referrers/"+digestOf(s.index)+query)
		var doc struct {
			SchemaVersion int
			MediaType     string
			Manifests     []struct {
				MediaType, Digest, ArtifactType string
				Size                            int
				Annotations                     map[string]string
			}
		}
		if err != nil || response.StatusCode != 200 || json.Unmarshal([]byte(body), &doc) != nil || doc.SchemaVersion != 2 ||
			doc.MediaType != image.MediaTypeOCIIndex || response.Header.Get("Content-Type") != image.MediaTypeOCIIndex {
			t.Fatalf("%v %s %v", response, body, err)
		}
		for _, m := range doc.Manifests {
			got = append(got, fmt.Sprint(m.MediaType, " ", m.Digest, " ", m.Size, " ", m.ArtifactType, " ", m.Annotations["n"]))
		}
		return got, response.Header
	}
	line := func(text, kind, n string) string {
		return fmt.Sprint(image.MediaTypeOCIManifest, " ", digestOf(text), " ", len(text), " ", kind, " ", n)
	}
	want := []string{line(other, "a/signature", "3"), line(sbom, "a/sbom", "1"), line(plain, "application/vnd.oci.empty.v1+json", "2")}
	if got, header := list(""); !cmp.Equal(got, want) || header.Get("OCI-Filters-Applied") != "" {
		t.Error(cmp.Diff(want, got), header)
	}
	if got, header := list("?artifactType=a/sbom"); !cmp.Equal(got, want[1:2]) || header.Get("OCI-Filters-Applied") != "artifactType" {
		t.Error(got, header)
	}
	if err := os.Truncate(pathOf(dir, sbom), 3); err != nil {
		t.Fatal(err)
	}
	// Known already, and a manifest never changes; whoever asks for it does not get it.
	if response, _, err := ask(t, "GET", url+"/v2/app/manifests/"+digestOf(sbom)); err != nil || response.StatusCode != 404 {
		t.Error(response, err)
	}
}

// TestReplaced: while a writer moves a tag again and again, each answer is that of one moment, and what it leads to is there.
func TestReplaced(t *testing.T) {
	fulltest.Long(t)
	dir := filepath.Join(t.TempDir(), "app")
	push(t, dir, "first", 100)
	url := listening(t, Options{Layouts: []Layout{{Path: dir}}})
	const rounds, clients = 40, 8
	store, repo := layout.New(), image.Repository{Path: dir}
	var group sync.WaitGroup
	done, ctx := make(chan struct{}), t.Context()
	for range clients {
		group.Go(func() {
			last := -1
			for ended := false; ; {
				select {
				case <-done:
					ended = true
				default:
				}
				response, body, err := ask(t, "GET", url+"/v2/app/manifests/moving")
				if err != nil {
					t.Error(err)
					return
				}
				var doc struct {
					Annotations map[string]int
					Layers      []struct{ Digest string }
				}
				switch {
				case response.StatusCode == 404 && last < 0: // not yet
				case response.StatusCode != 200 || json.Unmarshal([]byte(body), &doc) != nil || digestOf(body) != response.Header.Get("Docker-Content-Digest"):
					t.Errorf("%d %s", response.StatusCode, body)
				case doc.Annotations["round"] < last:
					t.Errorf("round %d after %d", doc.Annotations["round"], last)
				default:
					last = doc.Annotations["round"]
					if response, _, err := ask(t, "GET", url+"/v2/app/blobs/"+doc.Layers[0].Digest); err != nil || response.StatusCode != 200 {
						t.Errorf("the layer of round %d: %v, %v", last, response, err)
					}
				}
				if ended {
					if last != rounds-1 {
						t.Errorf("round %d was the last one", last)
					}
					return
				}
			}
		})
	}
	for round := range rounds {
		layer := fmt.Sprint("layer of round ", round)
		d := image.Descriptor{Digest: image.DigestOf([]byte(layer), ""), Size: int64(len(layer))}
		if err := store.PutBlob(ctx, repo, d, func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(layer)), nil }); err != nil {
			t.Fatal(err)
		}
		raw := fmt.Sprintf(`{"schemaVersion":2,"layers":[{%s}],"annotations":{"round":%d}}`, descriptor(layerType, layer), round)
		m := image.Manifest{Descriptor: image.Descriptor{MediaType: image.MediaTypeOCIManifest, Digest: image.DigestOf([]byte(raw), ""), Size: int64(len(raw))}, Raw: []byte(raw)}
		if err := store.PutManifest(ctx, repo.Tag("moving"), m); err != nil {
			t.Fatal(err)
		}
	}
	// Each client asks once more.
	close(done)
	group.Wait()
}

// TestDamagedIndex: an index.json that cannot be read leaves what was served, and a layout that is gone is gone.
func TestDamagedIndex(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "app")
	s := push(t, dir, "1", 100)
	url := listening(t, Options{Layouts: []Layout{{Path: dir}}})
	status := func() int {
		t.Helper()
		response, _, err := ask(t, "GET", url+"/v2/app/manifests/1")
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode
	}
	index := filepath.Join(dir, "index.json")
	raw, err := os.ReadFile(index)
	if err != nil {
		t.Fatal(err)
	}
	replace(t, index, raw[:len(raw)/2])
	if got := status(); got != 503 {
		t.Errorf("damaged from the start: %d", got)
	}
	replace(t, index, raw)
	if got := status(); got != 200 {
		t.Errorf("whole: %d", got)
	}
	replace(t, index, raw[:len(raw)/2])
	if got := status(); got != 200 {
		t.Errorf("damaged later: %d", got)
	}
	if err := os.Rename(dir, dir+".gone"); err != nil {
		t.Fatal(err)
	}
	if got := status(); got != 404 {
		t.Errorf("gone: %d", got)
	}
	if err := os.Rename(dir+".gone", dir); err != nil {
		t.Fatal(err)
	}
	replace(t, index, raw)
	if _, body, err := ask(t, "GET", url+"/v2/app/manifests/1"); err != nil || body != s.index {
		t.Errorf("back: %s, %v", body, err)
	}
}

// TestManyClients: 200 clients pull an image at once, each with a connection of its own.
func TestManyClients(t *testing.T) {
	fulltest.Long(t)
	dir := filepath.Join(t.TempDir(), "app")
	s := push(t, dir, "1", 1<<20)
	url := listening(t, Options{Layouts: []Layout{{Path: dir}}})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	var group sync.WaitGroup
	for range 200 {
		group.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for path, want := range map[string]string{
				"manifests/1": s.index, "manifests/" + digestOf(s.manifest): s.manifest, "blobs/" + digestOf(s.config): s.config, "blobs/" + digestOf(s.layer): s.layer,
			} {
				r, _ := http.NewRequestWithContext(ctx, http.MethodGet, url+"/v2/app/"+path, nil)
				response, err := client.Do(r)
				if err != nil {
					t.Error(err)
					return
				}
				body, err := io.ReadAll(response.Body)
				response.Body.Close()
				if err != nil || string(body) != want {
					t.Errorf("%s: %d bytes, %v", path, len(body), err)
				}
			}
		})
	}
	group.Wait()
}
