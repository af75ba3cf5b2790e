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
	mu  sync.Mutex
	all map[string]recentIndex
}

// recentIndex is an index.json with its bytes.
type recentIndex struct {
	raw []byte
	ix  *index
}

// maxRecent limits the layouts that are remembered, and maxRecentIndex the bytes of an index.json that is.
const (
	maxRecent      = 16
	maxRecentIndex = 16 << 20
)

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
	if len(raw) > maxRecentIndex {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil || len(r.all) >= maxRecent && r.all[dir].ix == nil {
		r.all = map[string]recentIndex{}
	}
	r.all[dir] = recentIndex{raw, ix.clone()}
}
