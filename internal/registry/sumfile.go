package registry

import (
	"errors"
	"io"
	"os"
	"sync"

	"github.com/draysync/dray/internal/image"
)

// sumsInMemory is how many sums a list has in memory: 2 MiB of them.
const sumsInMemory = 1 << 16

// sumList returns a list of n sums. A long one is in a file, or in memory if none can be made.
func (c *Client) sumList(n int) image.SumList {
	if n > sumsInMemory {
		for _, folder := range []string{c.options.Temp, ""} {
			if f := newSumFile(folder); f != nil {
				return f
			}
		}
	}
	return make(image.SumSlice, n)
}

// sumFile is a list of sums in a file without a name, which is gone when the list is. Once the file has failed, no sum is known.
type sumFile struct {
	mu   sync.Mutex
	file *os.File
	// block is a part of the file, which begins at the position first, negative for none; changed says that the file does not have it.
	block   [blockSums]image.Sum
	first   int
	changed bool
	failed  bool
}

const (
	sumSize   = len(image.Sum{})
	blockSums = 4096 / sumSize
)

// newSumFile makes a file in a folder, the system's for an empty name; nil if that is not possible.
func newSumFile(folder string) *sumFile {
	f, err := os.CreateTemp(folder, ".dray-sums-*")
	if err != nil {
		return nil
	}
	if err := os.Remove(f.Name()); err != nil { // a process that is killed would leave it behind
		_ = f.Close()
		return nil
	}
	return &sumFile{file: f, first: -1}
}

// At implements [image.SumList].
func (f *sumFile) At(i int) image.Sum {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.read(i)
	if f.failed {
		return image.Sum{}
	}
	return f.block[i-f.first]
}

// Put implements [image.SumList].
func (f *sumFile) Put(i int, sum image.Sum) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.read(i)
	if !f.failed {
		f.block[i-f.first], f.changed = sum, true
	}
}

// read reads the block of a position. The caller holds the lock.
func (f *sumFile) read(i int) {
	first := i - i%blockSums
	if f.failed || f.first == first {
		return
	}
	var raw [blockSums * sumSize]byte
	if f.changed {
		for j, sum := range f.block {
			copy(raw[j*sumSize:], sum[:])
		}
		if _, err := f.file.WriteAt(raw[:], int64(f.first)*int64(sumSize)); err != nil {
			f.failed = true
			return
		}
		clear(raw[:])
	}
	if n, err := f.file.ReadAt(raw[:], int64(first)*int64(sumSize)); err != nil && !errors.Is(err, io.EOF) || n%len(raw) != 0 {
		f.failed = true
		return
	}
	for j := range f.block {
		copy(f.block[j][:], raw[j*sumSize:])
	}
	f.first, f.changed = first, false
}
