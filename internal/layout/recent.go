package layout

import (
	"bytes"
	"maps"
	"slices"
	"sync"
)

// recent remembers the index.json of layouts as they were read or written last. To parse one of thousands of tags takes far longer than to read it, and
// it is read for each of them. The file is read all the same: what another process has written is seen at once.
type recent struct {
	mu   sync.Mutex
	all  map[string]recentIndex
	size int // of their bytes
}

// recentIndex is an index.json with its bytes.
type recentIndex struct {
	raw []byte
	ix  *index
}

// maxRecent limits the bytes of all that is remembered. What is parsed takes a few times as much.
const maxRecent = 16 << 20

// clone returns a copy, whose entries may be changed.
func (ix *index) clone() *index { return &index{maps.Clone(ix.fields), slices.Clone(ix.entries)} }

// read reads the index.json of a layout, as readIndex does.
func (r *recent) read(dir string) (*index, error) {
	raw, err := indexBytes(dir)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	last := r.all[dir]
	r.mu.Unlock()
	if last.ix != nil && bytes.Equal(last.raw, raw) {
		return last.ix.clone(), nil
	}
	ix, err := indexOf(dir, raw)
	if err == nil {
		r.remember(dir, raw, ix)
	}
	return ix, err
}

// write writes the index.json of a layout.
func (r *recent) write(dir string, ix *index) error {
	raw, err := ix.write(dir)
	if err == nil {
		r.remember(dir, raw, ix)
	}
	return err
}

func (r *recent) remember(dir string, raw []byte, ix *index) {
	if len(raw) > maxRecent {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.size += len(raw) - len(r.all[dir].raw)
	if r.all == nil || r.size > maxRecent {
		r.all, r.size = map[string]recentIndex{}, len(raw)
	}
	r.all[dir] = recentIndex{raw, ix.clone()}
}
