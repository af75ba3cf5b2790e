package transfer_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/layout"
)

// folder is a layout in which there are images of others beside those that are brought.
type folder struct {
	*stand
	repo   image.Repository
	images map[string]emulator.Image
}

// sync brings what the layout does not hold.
func (f *folder) sync(t *testing.T) {
	t.Helper()
	since := time.Now()
	for tag, i := range f.images {
		o := order("team/app", tag, i.Digest)
		o.Target, o.Since, o.Fresh = f.repo.Tag(tag), since, false
		if held, err := f.client.Head(t.Context(), o.Target); err != nil || held.Digest != o.Digest {
			f.bring(t, o)
		}
	}
}

// entries has a function change the entries of index.json.
func (f *folder) entries(t *testing.T, change func(list []map[string]any) []map[string]any) {
	t.Helper()
	path := filepath.Join(f.repo.Path, "index.json")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		SchemaVersion int              `json:"schemaVersion"`
		Manifests     []map[string]any `json:"manifests"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	doc.Manifests = change(doc.Manifests)
	if raw, err = json.Marshal(doc); err == nil {
		err = os.WriteFile(path, raw, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// foreign are the ways in which others name an image with the tag v1.
var foreign = []map[string]any{
	{"org.opencontainers.image.ref.name": "registry.example/team/redis:v1"},
	{"org.opencontainers.image.ref.name": "v1", "io.containerd.image.name": "registry.example/team/redis:v1"},
	{"org.opencontainers.image.ref.name": "registry.example:5000/redis@sha256:00"},
	{"vnd.example": "x"},
}

// harm does one damage, and tells what it was.
func (f *folder) harm(t *testing.T, random *rand.Rand) string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(filepath.Join(f.repo.Path, "blobs"), func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	path := slices.Concat(files, []string{filepath.Join(f.repo.Path, "index.json")})[random.IntN(len(files)+1)]
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	kind := []string{"bit", "cut", "missing", "doubled"}[random.IntN(4)]
	switch kind {
	case "bit":
		raw[random.IntN(len(raw))] ^= 1 << random.IntN(8)
		err = os.WriteFile(path, raw, 0o600)
	case "cut":
		err = os.Truncate(path, random.Int64N(int64(len(raw))))
	case "missing":
		err = os.Remove(path)
	default:
		path = "index.json"
		f.entries(t, func(list []map[string]any) []map[string]any {
			return append(list, list[random.IntN(len(list))])
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return kind + " of " + path
}

// writers are the programs that write layouts, each with its arguments for one image; none for dray.
var writers = map[string]func(image, dir, tag string) []string{
	"dray": nil,
	"skopeo": func(image, dir, tag string) []string {
		return []string{"copy", "--quiet", "--all", "--src-tls-verify=false", "docker://" + image, "oci:" + dir + ":" + tag}
	},
	"crane": func(image, dir, _ string) []string {
		return []string{"pull", "--insecure", "--format", "oci", "--annotate-ref", image, dir}
	},
}

// TestDamages: after any damage to a layout, a repair and a sync, it is whole, and of others nothing is lost that the repair does not tell;
// whoever has written it.
func TestDamages(t *testing.T) {
	rounds := fulltest.Rounds(12, 12)
	for writer, arguments := range writers {
		t.Run(writer, func(t *testing.T) {
			base := []emulator.Layer{emulator.NewLayer(1, 64)}
			f := &folder{stand: standOutside(emulator.Options{}), repo: image.Repository{Path: t.TempDir()}, images: map[string]emulator.Image{}}
			f.renew(t)
			for n, tag := range []string{"v1", "v2", "other"} {
				f.images[tag] = emulator.MultiArch(int64(n), emulator.ImageOptions{Base: base, LayerSize: 64})
				f.push(t, f.images[tag], "team/app", tag)
			}
			if arguments == nil {
				f.sync(t)
			} else {
				f.written(t, writer, arguments)
			}
			template, other := f.repo.Path, f.images["other"].Digest
			delete(f.images, "other")
			for seed := range rounds {
				f.repo.Path = filepath.Join(t.TempDir(), "layout")
				if err := os.CopyFS(f.repo.Path, os.DirFS(template)); err != nil {
					t.Fatal(err)
				}
				f.damaged(t, seed, other)
			}
		})
	}
}

// written has another program write the layout.
func (f *folder) written(t *testing.T, writer string, arguments func(image, dir, tag string) []string) {
	t.Helper()
	path := fulltest.Program(t, writer, "it as .ci/run does")
	server := httptest.NewServer(f.source)
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	for _, tag := range slices.Sorted(maps.Keys(f.images)) {
		run := exec.Command(path, arguments(host+"/team/app:"+tag, f.repo.Path, tag)...) //nolint:gosec // this test's
		if out, err := run.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", run, err, out)
		}
	}
}

// damaged does one damage to the layout, repairs it, and brings what it lacks.
func (f *folder) damaged(t *testing.T, seed uint64, other string) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 16)) //nolint:gosec // a damage that can be done again
	f.entries(t, func(list []map[string]any) []map[string]any {
		for _, e := range list {
			if e["digest"] == other {
				e["annotations"] = foreign[seed%uint64(len(foreign))]
			}
		}
		return list
	})
	what := fmt.Sprintf("seed %d: %s", seed, f.harm(t, random))
	told, err := layout.New().Repair(t.Context(), f.repo.Path, false)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	f.renew(t)
	f.sync(t)
	if got, err := layout.Verify(t.Context(), f.repo.Path); err != nil || len(got.Problems) > 0 {
		t.Errorf("%s: %v %v", what, got.Problems, err)
	}
	for tag, i := range f.images {
		if held, err := f.client.Head(t.Context(), f.repo.Tag(tag)); err != nil || held.Digest != image.Digest(i.Digest) {
			t.Errorf("%s: %s holds %s, %v", what, tag, held.Digest, err)
		}
	}
	raw, err := os.ReadFile(filepath.Join(f.repo.Path, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	if !told.Index && len(told.Tags) == 0 && told.Untagged == 0 && !strings.Contains(string(raw), other) {
		t.Errorf("%s: the image of others is lost without a word", what)
	}
}
