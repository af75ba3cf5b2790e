package result

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/cmd/draybench/internal/peer"
	"github.com/draysync/dray/internal/emulator/registry"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares got with a file below testdata.
func golden(t *testing.T, file, got string) {
	t.Helper()
	path := filepath.Join("testdata", file)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got):\n%s", file, d)
	}
}

// measured is a report in which dray keeps all limits; skopeo fails in its second run.
func measured() Report {
	r := Report{
		Machine: Machine{CPU: "Example CPU", Cores: 2, OS: "Debian GNU/Linux 12", Go: "go1.26.8", Registry: "docker-registry 2.8.2"},
		Tools:   []peer.Tool{{Name: "dray", Version: "v1.0.0"}, {Name: "regsync", Version: "v0.11.7"}, {Name: "skopeo"}},
		Corpora: []Corpus{{
			Name: "small", Description: "small: 10 repositories × 6 tags × 2 platforms", Repositories: 10, Tags: 60,
			Unique: 120_249_050, PerRepository: 283_280_040, Rebuilt: 1_052_734,
		}},
	}
	first := Key{"small", "first", 0.02}
	for n, wall := range []float64{2.5, 1.5, 2} {
		run := Run{Key: first, Tool: "dray", Number: n + 1, Wall: wall, CPU: 0.5, PeakRSS: 32 << 20, Sent: 120_249_050}
		run.Source = Requests{ManifestHead: 60, ManifestGet: 180, BlobGet: 266}
		run.Target = Requests{ManifestHead: 60, ManifestPut: 180, UploadPut: 266, Mount: 300}
		run.Fetched.Bytes = 120_249_050
		r.Runs = append(r.Runs, run)
		run.Tool, run.Wall, run.CPU, run.Sent = "regsync", 3*wall, 1, 283_280_040
		run.Fetched = Fetched{Bytes: 283_280_040, Repeats: 34, RepeatedBytes: 163_030_990}
		run.Target = Requests{ManifestHead: 240, ManifestPut: 180, BlobHead: 600, UploadPut: 300, Mount: 300}
		r.Runs = append(r.Runs, run)
		run.Tool, run.Wall, run.Temporary = "skopeo", 10*wall, Temporary{2, 5000}
		if n == 1 {
			run.Exit, run.Incomplete = 1, "mirror/app-00:1.0.0 is \"\""
		}
		r.Runs = append(r.Runs, run)
	}
	moved := Key{"small", "moved", 0.02}
	run := Run{Key: moved, Tool: "dray", Number: 1, Wall: 0.3, Beyond: 15, Sent: 1_052_734, Fetched: Fetched{Bytes: 1_052_734}}
	run.Source = Requests{ManifestHead: 60, Tags: 10}
	r.Runs = append(r.Runs, run)
	return r
}

func TestTables(t *testing.T) {
	writers := map[string]func(*strings.Builder) error{
		"report.txt": func(b *strings.Builder) error { return measured().Text(b) },
		"report.md":  func(b *strings.Builder) error { return measured().Markdown(b) },
	}
	for file, write := range writers {
		t.Run(file, func(t *testing.T) {
			var b strings.Builder
			if err := write(&b); err != nil {
				t.Fatal(err)
			}
			golden(t, file, b.String())
		})
	}
}

func TestMissed(t *testing.T) {
	text, missed := measured().Missed()
	if missed != nil {
		t.Errorf("missed: %v", missed)
	}
	golden(t, "limits.txt", text)
	const first, moved = 0, 9 // dray's runs
	tests := []struct {
		name   string
		change func(*Report)
		want   []string // parts of the error, one a line
	}{
		{"a blob twice", func(r *Report) { r.Runs[first].Fetched.Repeats = 1 }, []string{"blobs fetched again = 0: 1"}},
		{"a byte too many", func(r *Report) { r.Runs[moved].Sent++ }, []string{"sent = 1052734 bytes: 1052735 bytes"}},
		{"more than 0.1 % too many", func(r *Report) { r.Runs[first].Fetched.Bytes += 121_000 }, []string{"fetched = 120249050 bytes"}},
		{"a request too many", func(r *Report) { r.Runs[moved].Beyond = 16 }, []string{"beyond the no-op's ≤ 15: 16"}},
		{"slow once", func(r *Report) { r.Runs[first].Wall = 60 }, nil},
		{"slow", func(r *Report) { r.Runs[first].Wall, r.Runs[3].Wall = 60, 60 }, []string{"wall ≤ 0.55 × regsync"}},
		{"not whole", func(r *Report) { r.Runs[moved].Incomplete = "no" }, []string{"everything is at the target: no"}},
		{"no regsync", func(r *Report) {
			for i := range r.Runs {
				if r.Runs[i].Tool == "regsync" {
					r.Runs[i].Tool = "other"
				}
			}
		}, []string{"requests to the target ≤ 0.55 × regsync: regsync was not measured", "wall ≤ 0.55 × regsync: regsync was not measured"}},
		{"no dray", func(r *Report) { r.Runs = r.Runs[1:2] }, []string{
			"fetched", "sent", "again", "requests", "wall ≤ 0.55 × regsync: dray was not measured", "wall",
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := measured()
			test.change(&r)
			_, missed := r.Missed()
			var lines []string
			if missed != nil {
				lines = strings.Split(missed.Error(), "\n")
			}
			if len(lines) != len(test.want) {
				t.Fatalf("missed %q, want %q", lines, test.want)
			}
			for i, want := range test.want {
				if !strings.Contains(lines[i], want) {
					t.Errorf("missed %q, want %q", lines[i], want)
				}
			}
		})
	}
}

// TestLimits looks at the limits of the corpora that TestMissed does not have.
func TestLimits(t *testing.T) {
	r := Report{
		Tools:   []peer.Tool{{Name: "dray"}, {Name: "regsync"}, {Name: "crane"}, {Name: "oras"}},
		Corpora: []Corpus{{Name: "wide", Repositories: 20, Tags: 1000}, {Name: "big"}},
	}
	add := func(corpus, scenario string, latency float64, tool string, run Run) {
		run.Key, run.Tool, run.Number = Key{corpus, scenario, latency}, tool, 1
		r.Runs = append(r.Runs, run)
	}
	add("wide", "first", 0, "dray", Run{Wall: 5})
	add("wide", "first", 0, "regsync", Run{Wall: 9})
	add("wide", "noop", 0, "dray", Run{Wall: 5, Source: Requests{ManifestHead: 1000, Tags: 20}, Target: Requests{ManifestHead: 1021}})
	add("wide", "noop", 0, "regsync", Run{Wall: 9})
	add("wide", "noop", 0.02, "dray", Run{Wall: 4})
	add("wide", "noop", 0.02, "regsync", Run{Wall: 9})
	add("big", "first", 0, "dray", Run{Wall: 6, CPU: 3, PeakRSS: 65 << 20, Fetched: Fetched{Bytes: 1e9}, Temporary: Temporary{Files: 1}})
	add("big", "first", 0, "regsync", Run{Wall: 7, CPU: 3.1, Fetched: Fetched{Bytes: 12e8}})
	add("big", "first", 0, "crane", Run{Wall: 5, Exit: 1, Incomplete: "exit code 1"})
	add("big", "first", 0, "oras", Run{Wall: 5.5})
	add("big", "moved", 0, "dray", Run{Wall: 6})
	text, _ := r.Missed()
	golden(t, "limits-others.txt", text)
}

func TestCount(t *testing.T) {
	log := []registry.Request{
		{Method: "HEAD", Kind: registry.KindManifest},
		{Method: "GET", Kind: registry.KindManifest},
		{Method: "PUT", Kind: registry.KindManifest},
		{Method: "HEAD", Kind: registry.KindBlob},
		{Method: "GET", Kind: registry.KindBlob},
		{Method: "POST", Kind: registry.KindUpload},
		{Method: "POST", Kind: registry.KindUpload, Query: "digest=sha256:a"},
		{Method: "POST", Kind: registry.KindUpload, Query: "mount=sha256:a"},
		{Method: "POST", Kind: registry.KindUpload, Query: "from=a&mount=sha256:a"},
		{Method: "PATCH", Kind: registry.KindUpload},
		{Method: "PUT", Kind: registry.KindUpload, Query: "digest=sha256:a"},
		{Method: "GET", Kind: registry.KindTags},
		{Method: "GET", Kind: registry.KindReferrers},
		{Method: "GET", Kind: registry.KindToken},
		{Method: "POST", Kind: registry.KindToken},
		{Method: "GET", Kind: registry.KindPing},
		{Method: "GET", Kind: registry.KindCatalog},
		{Method: "GET", Kind: registry.KindUpload},
		{Method: "DELETE", Kind: registry.KindManifest},
	}
	got := Count(log)
	want := Requests{
		ManifestHead: 1, ManifestGet: 1, ManifestPut: 1, BlobHead: 1, BlobGet: 1, UploadPost: 2, UploadPatch: 1, UploadPut: 1,
		Mount: 2, Tags: 1, Referrers: 1, Token: 2, Other: 4,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got.Total() != len(log) {
		t.Errorf("%d of %d are counted", got.Total(), len(log))
	}
}

func TestCountFetched(t *testing.T) {
	get := func(repository, digest string, status int, bytes int64) registry.Request {
		return registry.Request{
			Method: "GET", Kind: registry.KindBlob, Repository: repository, Reference: digest, Status: status, BytesOut: bytes,
		}
	}
	tests := []struct {
		name string
		log  []registry.Request
		want Fetched
	}{
		{"each once", []registry.Request{get("a", "1", 200, 100), get("a", "2", 200, 10)}, Fetched{Bytes: 110}},
		{"twice", []registry.Request{get("a", "1", 200, 100), get("a", "1", 200, 100)}, Fetched{200, 1, 100}},
		{"in two repositories", []registry.Request{get("a", "1", 200, 100), get("b", "1", 200, 100), get("c", "1", 200, 100)}, Fetched{300, 2, 200}},
		{"resumed", []registry.Request{get("a", "1", 200, 40), get("a", "1", 206, 60)}, Fetched{Bytes: 100}},
		{"from the start again", []registry.Request{get("a", "1", 200, 40), get("a", "1", 200, 100)}, Fetched{140, 1, 100}},
		{"refused before", []registry.Request{get("a", "1", 503, 9), get("a", "1", 0, 0), get("a", "1", 200, 100)}, Fetched{Bytes: 100}},
		{"not a blob", []registry.Request{{Method: "GET", Kind: registry.KindManifest, Status: 200, BytesOut: 9}}, Fetched{}},
		{"not fetched", []registry.Request{{Method: "HEAD", Kind: registry.KindBlob, Status: 200}}, Fetched{}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, CountFetched(test.log)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCountSent(t *testing.T) {
	log := []registry.Request{
		{Method: "POST", Kind: registry.KindUpload, BytesIn: 1},
		{Method: "PATCH", Kind: registry.KindUpload, BytesIn: 20},
		{Method: "PUT", Kind: registry.KindUpload, BytesIn: 300, Status: 503},
		{Method: "PUT", Kind: registry.KindManifest, BytesIn: 4000},
	}
	if got := CountSent(log); got != 321 {
		t.Errorf("%d", got)
	}
}

func TestMedian(t *testing.T) {
	tests := []struct {
		name  string
		walls []float64
		want  float64
	}{
		{"none", nil, 0}, {"one", []float64{3}, 3}, {"odd", []float64{9, 1, 2}, 2}, {"even", []float64{4, 1, 9, 2}, 3},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var s series
			for _, wall := range test.walls {
				s = append(s, Run{Wall: wall})
			}
			if got := s.median(wall); got != test.want {
				t.Errorf("%g, want %g", got, test.want)
			}
		})
	}
}

func TestQuantities(t *testing.T) {
	tests := []struct{ got, want string }{
		{seconds(0.0314), "31 ms"},
		{seconds(0.9999), "1.00 s"},
		{seconds(5.618), "5.62 s"},
		{seconds(9.999), "10.0 s"},
		{seconds(99.99), "1m40s"},
		{seconds(131.4), "2m11s"},
		{megabytes(0), "0"},
		{megabytes(468), "468 B"},
		{megabytes(5616), "5.6 kB"},
		{megabytes(120_249_050), "120.2 MB"},
		{megabytes(1_000_600_000), "1.001 GB"},
		{mebibytes(64 << 20), "64 MiB"},
		{number(1620), "1620"},
		{number(12.5), "12.5"},
		{ratio(3, 2), " (1.50×)"},
		{ratio(3, 0), ""},
		{ratio(0, 3), ""},
	}
	for _, test := range tests {
		if test.got != test.want {
			t.Errorf("%q, want %q", test.got, test.want)
		}
	}
}
