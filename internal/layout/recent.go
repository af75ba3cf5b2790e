package layout

import (
	"bytes"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/draysync/dray/internal/file"
	"github.com/draysync/dray/internal/image"
)

// recent remembers the index.json of layouts as they were read or written last. To parse one of thousands of tags takes far longer than to read it, to
// read it longer than to look whether it has changed, and it is looked at for each of them. What another process has written is seen at once.
type recent struct {
	mu   sync.Mutex
	all  map[string]recentIndex
	size int // of their bytes
}

// recentIndex is an index.json with its bytes, and how the file was when it was last read; info is nil for one that was written since.
type recentIndex struct {
	raw  []byte
	ix   *lookup
	info fs.FileInfo
	read time.Time
}

// maxRecent limits the bytes of all that is remembered. What is parsed takes a few times as much.
const maxRecent = 16 << 20

// clone returns a copy, whose entries may be changed.
func (ix *index) clone() *index { return &index{maps.Clone(ix.fields), slices.Clone(ix.entries)} }

// read reads the index.json of a layout, as readIndex does, for who changes and writes it: it does not trust the time of the file.
func (r *recent) read(dir string) (*index, error) {
	ix, err := r.get(dir, false)
	if err != nil {
		return nil, err
	}
	return ix.clone(), nil
}

// look is read for who changes nothing. It does not read a file that has not changed.
func (r *recent) look(dir string) (*lookup, error) { return r.get(dir, true) }

func (r *recent) get(dir string, trust bool) (*lookup, error) {
	f, err := file.Open(filepath.Join(dir, indexFile)) // on NFS, this asks whether it has changed
	if err != nil {
		return nil, noLayout(dir, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	last := r.all[dir]
	r.mu.Unlock()
	if trust && last.info != nil && unchanged(last.info, info, last.read) {
		return last.ix, nil
	}
	now := time.Now()
	raw, err := file.ReadAll(f, maxIndex)
	if err != nil {
		return nil, err
	}
	ix := last.ix
	if ix == nil || !bytes.Equal(last.raw, raw) {
		parsed, err := indexOf(dir, raw)
		if err != nil {
			return nil, err
		}
		ix = &lookup{index: parsed}
	}
	r.remember(dir, recentIndex{raw, ix, info, now})
	return ix, nil
}

// write writes the index.json of a layout.
func (r *recent) write(dir string, ix *index) error {
	raw, err := ix.write(dir)
	if err == nil {
		r.remember(dir, recentIndex{raw: raw, ix: &lookup{index: ix.clone()}})
	}
	return err
}

func (r *recent) remember(dir string, ix recentIndex) {
	if len(ix.raw) > maxRecent {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.size += len(ix.raw) - len(r.all[dir].raw)
	if r.all == nil || r.size > maxRecent {
		r.all, r.size = map[string]recentIndex{}, len(ix.raw)
	}
	r.all[dir] = ix
}

// lookup is an index that nobody changes, in which what has a tag or a digest is found at once.
type lookup struct {
	*index
	once    sync.Once
	tags    map[string][]int // entries whose name is the tag, or ends with it
	digests map[image.Digest]int
}

// of returns the part of an index that is about a tag or a digest.
func (l *lookup) of(r image.Reference) *index {
	l.once.Do(l.fill)
	part := &index{}
	if r.Digest != "" {
		if i, ok := l.digests[r.Digest]; ok {
			part.entries = l.entries[i : i+1]
		}
		return part
	}
	for _, i := range l.tags[r.Tag] {
		part.entries = append(part.entries, l.entries[i])
	}
	return part
}

func (l *lookup) fill() {
	l.tags, l.digests = map[string][]int{}, map[image.Digest]int{}
	for i, e := range l.entries {
		name, tag := e.name(), e.tag()
		l.tags[name] = append(l.tags[name], i)
		if tag != name {
			l.tags[tag] = append(l.tags[tag], i)
		}
		if _, ok := l.digests[e.Digest]; !ok {
			l.digests[e.Digest] = i
		}
	}
}
