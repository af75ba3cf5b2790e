package scale

import (
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/draysync/dray/cmd/draybench/internal/peer"
	"github.com/draysync/dray/internal/fulltest"
)

// A dray measured with few tags finds them as they are, at both kinds of registry, with the requests that docs/listings.md promises.
func TestMeasure(t *testing.T) {
	fulltest.Long(t)
	path := filepath.Join(t.TempDir(), "dray")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, "github.com/draysync/dray/cmd/dray").CombinedOutput(); err != nil {
		t.Fatalf("build dray: %v\n%s", err, out)
	}
	tools, err := peer.Find(t.Context(), []string{"dray"}, path, false)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		Dray: tools[0], Shapes: []Shape{{Mappings: 2, Tags: 100}, {Mappings: 1, Tags: 1500}}, Lists: []bool{false, true}, Referrers: true,
		Idle: time.Millisecond, Dir: t.TempDir(), Progress: io.Discard,
	}
	rows, err := Measure(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	want := [][2]Requests{
		{{Heads: 200, Pages: 2}, {Heads: 200}},
		{{Pages: 2, Listings: 2}, {Listings: 2}},
		{{Heads: 1500, Pages: 2}, {Heads: 1500}},
		{{Pages: 2, Listings: 1}, {Listings: 1}},
	}
	for i, row := range rows {
		if row.Again.Source != want[i][0] || row.Again.Target != want[i][1] {
			t.Errorf("%s: %+v at the source, %+v at the target, want %+v", row.Shape, row.Again.Source, row.Again.Target, want[i])
		}
		if row.Again.PeakRSS < 1<<20 || row.Resident < 1<<20 || row.Store < 1<<10 {
			t.Errorf("implausible: %+v", row)
		}
	}
	var out strings.Builder
	if err := Write(&out, rows, true); err != nil || !strings.Contains(out.String(), "\n| 1 | 1500 | list digests | ") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// A registry in which nothing has changed says so where somebody writes, or asks for what is not there.
func TestRegistry(t *testing.T) {
	all := newImages(Shape{Mappings: 2, Tags: 3})
	for _, test := range []struct {
		repository int
		reference  string
		want       int
	}{
		{0, "v0000002", 2}, {1, "v0000000", 3}, {1, "v0000003", -1}, {0, "latest", -1}, {1, all.digest(4), 4}, {0, all.digest(4), -1}, {0, "sha256:00", -1},
	} {
		if got := all.find(test.repository, test.reference); got != test.want {
			t.Errorf("%s of repository %d: %d, want %d", test.reference, test.repository, got, test.want)
		}
	}
	if name, rest := cutName("scale/r00001/tags/list"); name != "scale/r00001" || rest != "tags/list" {
		t.Errorf("%q, %q", name, rest)
	}
	r := registry{images: all}
	r.refused.Add(1)
	if _, err := r.requests(); err == nil {
		t.Error("a write is no error")
	}
}
