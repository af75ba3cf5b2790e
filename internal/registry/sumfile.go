package registry

import (
	"context"
	"errors"
	"io"
	"log/slog"
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
			if f := newSumFile(folder, n, c.options.Log); f != nil {
				return f
			}
		}
	}
	return make(image.SumSlice, n)
}

// sumFile is a list of sums in a file without a name, whose room is free when the list is garbage. Where the file can no longer be written, the list
// goes on in memory; where it cannot be read, no sum is known any more.
type sumFile struct {
	log *slog.Logger
	n   int

	mu   sync.Mutex
	file *os.File
	// block is a part of the file, which begins at the position first, negative for none; changed says that the file does not have it.
	block   [blockSums]image.Sum
	first   int
	changed bool
	// memory has all sums once the file is not used any more, none of them if they are lost, since it could not be read; nil before.
	memory image.SumSlice
	lost   bool
}

const (
	sumSize   = len(image.Sum{})
	blockSums = 4096 / sumSize
)

// newSumFile makes a file for n sums in a folder, the system's for an empty name; nil if that is not possible, as on Windows.
func newSumFile(folder string, n int, log *slog.Logger) *sumFile {
	f, err := os.CreateTemp(folder, ".dray-sums-*")
	if err != nil {
		return nil
	}
	if err := os.Remove(f.Name()); err != nil { // a process that is killed would leave it behind
		_ = f.Close()
		_ = os.Remove(f.Name())
		return nil
	}
	return &sumFile{log: log, n: n, file: f, first: -1}
}

// At implements [image.SumList].
func (f *sumFile) At(i int) image.Sum {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.turn(i); f.memory != nil {
		return f.memory[i]
	}
	return f.block[i-f.first]
}

// Put implements [image.SumList].
func (f *sumFile) Put(i int, sum image.Sum) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.turn(i)
	switch {
	case f.lost: // nor whether another sum was there before
	case f.memory != nil:
		f.memory[i] = sum
	default:
		f.block[i-f.first], f.changed = sum, true
	}
}

// turn turns to the block of a position. The caller holds the lock, as for the methods below.
func (f *sumFile) turn(i int) {
	first := i - i%blockSums
	if f.memory != nil || f.first == first {
		return
	}
	if f.changed {
		if err := f.write(); err != nil {
			f.leave(err)
			return
		}
		f.changed = false
	}
	if err := f.read(first, f.block[:]); err != nil {
		f.first = -1
		f.leave(err)
		return
	}
	f.first = first
}

func (f *sumFile) write() error {
	var raw [blockSums * sumSize]byte
	for j, sum := range f.block {
		copy(raw[j*sumSize:], sum[:])
	}
	_, err := f.file.WriteAt(raw[:], int64(f.first)*int64(sumSize))
	return err
}

// read reads the block that begins at a position. What was never written is zero.
func (f *sumFile) read(first int, block []image.Sum) error {
	var raw [blockSums * sumSize]byte
	n, err := f.file.ReadAt(raw[:], int64(first)*int64(sumSize))
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	for j := range block {
		block[j] = image.Sum{}
		if (j+1)*sumSize <= n {
			copy(block[j][:], raw[j*sumSize:])
		}
	}
	return nil
}

// leave goes on in memory, with the sums that the file has if it can be read.
func (f *sumFile) leave(cause error) {
	f.memory = make(image.SumSlice, f.n)
	defer func() { _ = f.file.Close() }()
	for first := 0; first < f.n; first += blockSums {
		part := f.memory[first:min(first+blockSums, f.n)]
		if first == f.first { // it is newer
			copy(part, f.block[:])
		} else if err := f.read(first, part); err != nil {
			clear(f.memory)
			f.lost = true
			f.log.LogAttrs(context.Background(), slog.LevelWarn, "a temporary file cannot be read, so tags are asked for by HEAD", slog.Any("err", err))
			return
		}
	}
	f.log.LogAttrs(context.Background(), slog.LevelDebug, "a temporary file cannot be used, so a listing is held in memory", slog.Any("err", cause))
}
