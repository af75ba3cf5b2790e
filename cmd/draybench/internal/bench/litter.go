package bench

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/draysync/dray/cmd/draybench/internal/result"
)

// litter watches a folder for files.
type litter struct {
	dir  string
	end  chan struct{}
	seen chan result.Temporary
}

// longAgo is put on the watched folder: any other time says that something was made or removed in it, however fast.
var longAgo = time.Unix(1_000_000_000, 0)

// watchLitter empties a folder, or makes it, and looks at it until stop.
func watchLitter(dir string) (*litter, error) {
	if err := os.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("watch for temporary files: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("watch for temporary files: %w", err)
	}
	if err := os.Chtimes(dir, longAgo, longAgo); err != nil {
		return nil, fmt.Errorf("watch for temporary files: %w", err)
	}
	l := &litter{dir: dir, end: make(chan struct{}), seen: make(chan result.Temporary, 1)}
	go l.run()
	return l, nil
}

func (l *litter) run() {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	names := map[string]bool{}
	var most int64
	for {
		most = max(most, l.look(names))
		select {
		case <-tick.C:
		case <-l.end:
			most = max(most, l.look(names))
			files := len(names)
			if info, err := os.Stat(l.dir); files == 0 && (err != nil || !info.ModTime().Equal(longAgo)) {
				files = 1
			}
			l.seen <- result.Temporary{Files: files, Bytes: most}
			return
		}
	}
}

// look notes the names of the files there are, and returns their size.
func (l *litter) look(names map[string]bool) int64 {
	var size int64
	_ = filepath.WalkDir(l.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return nil //nolint:nilerr // files come and go while they are looked at
		}
		names[path] = true
		if info, err := entry.Info(); err == nil {
			size += info.Size()
		}
		return nil
	})
	return size
}

// stop ends the watch.
func (l *litter) stop() result.Temporary {
	close(l.end)
	return <-l.seen
}
