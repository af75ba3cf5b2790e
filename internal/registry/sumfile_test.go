package registry

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/draysync/dray/internal/image"
)

// TestSumFile compares a file of sums with a slice, at random and in a row.
func TestSumFile(t *testing.T) {
	folder := t.TempDir()
	c := &Client{options: Options{Temp: folder}}
	const n = sumsInMemory + 77
	list := c.sumList(n)
	if _, ok := list.(*sumFile); !ok {
		t.Fatalf("%T", list)
	}
	if left, err := os.ReadDir(folder); len(left) > 0 || err != nil {
		t.Error(left, err)
	}
	random := rand.New(rand.NewPCG(1, 1)) //nolint:gosec // reproducible
	want := make(image.SumSlice, n)
	for range 50_000 {
		i := random.IntN(n)
		if random.IntN(3) == 0 && list.At(i) != want[i] {
			t.Fatalf("%d: %v, want %v", i, list.At(i), want[i])
		}
		sum := image.Sum{byte(random.Uint32()), byte(i), 31: byte(random.Uint32())}
		want.Put(i, sum)
		list.Put(i, sum)
	}
	for i := range n {
		if list.At(i) != want[i] {
			t.Fatalf("%d: %v, want %v", i, list.At(i), want[i])
		}
	}
}

// TestSumFileFails: a file that cannot be written is left for memory, one that cannot be read knows nothing, and what can be in no file is in memory.
func TestSumFileFails(t *testing.T) {
	const n = 10*blockSums + 1
	var log strings.Builder
	filled := func() *sumFile {
		f := newSumFile(t.TempDir(), n, slog.New(slog.NewTextHandler(&log, nil)))
		for i := range n {
			f.Put(i, image.Sum{1, byte(i), byte(i >> 8)})
		}
		f.Put(3, image.Sum{3})
		return f
	}
	full := filled()
	readOnly, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", full.file.Fd()))
	if err != nil {
		t.Skip("the system has no /proc:", err)
	}
	full.file = readOnly
	for i := range n {
		want := image.Sum{1, byte(i), byte(i >> 8)}
		if i == 3 {
			want = image.Sum{3}
		}
		if got := full.At(i); got != want {
			t.Fatalf("%d: %v", i, got)
		}
	}
	full.Put(5, image.Sum{5})
	if full.memory == nil || full.At(5) != (image.Sum{5}) || log.Len() > 0 {
		t.Error("it is not in memory", log.String())
	}
	lost := filled()
	tags := make([]string, n)
	for i := range tags {
		tags[i] = fmt.Sprintf("v%d", i)
	}
	held := image.NewSums(image.NewTagList(tags), lost)
	if err := lost.file.Close(); err != nil {
		t.Fatal(err)
	}
	if chosen := sample(held, "", firstSamples); len(chosen) > 0 || held.Of("v3") != (image.Sum{}) || strings.Count(log.String(), "cannot be read") != 1 {
		t.Error(chosen, log.String())
	}
	c, none := &Client{}, filepath.Join(t.TempDir(), "none")
	c.options.Temp = none
	if _, ok := c.sumList(sumsInMemory + 1).(*sumFile); !ok {
		t.Error("it is not in the system's folder")
	}
	t.Setenv("TMPDIR", none)
	if _, ok := c.sumList(sumsInMemory + 1).(image.SumSlice); !ok {
		t.Error("it is not in memory")
	}
	if _, ok := (&Client{}).sumList(sumsInMemory).(image.SumSlice); !ok {
		t.Error("a short list is in a file")
	}
}
