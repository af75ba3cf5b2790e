package registry

import (
	"math/rand/v2"
	"os"
	"path/filepath"
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

// TestSumFileFails: a file that fails knows nothing, and what can be in no file is in memory.
func TestSumFileFails(t *testing.T) {
	f := newSumFile(t.TempDir())
	f.Put(0, image.Sum{1})
	f.Put(blockSums, image.Sum{2})
	if f.At(0) != (image.Sum{1}) {
		t.Error("it has lost a sum")
	}
	f.Put(0, image.Sum{3})
	if err := f.file.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range 2 * blockSums {
		if i >= blockSums && f.At(i) != (image.Sum{}) {
			t.Errorf("%d is known", i)
		}
	}
	f.Put(0, image.Sum{4})
	unread := newSumFile(t.TempDir())
	unread.Put(0, image.Sum{1})
	unread.At(blockSums)
	if err := unread.file.Close(); err != nil || unread.At(0) != (image.Sum{}) || unread.At(blockSums) != (image.Sum{}) || !unread.failed {
		t.Error("it knows something after it has failed", err)
	}
	if f.At(0) != (image.Sum{}) {
		t.Error("it knows something after it has failed")
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
