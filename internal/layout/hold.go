package layout

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/draysync/dray/internal/file"
)

const (
	// quiet is how long a process keeps a layout after its last write, so that what belongs together is not torn apart.
	quiet = time.Second
	// patience is how long a write waits for another process to be done with the layout, and how long it is then not waited for again.
	patience = 5 * time.Second
	// look is how often it looks.
	look = 50 * time.Millisecond

	maxOwner = 256
)

// hold is a layout that this process writes to, and no other process at the same time.
type hold struct {
	file  *os.File // the lock file, locked
	info  os.FileInfo
	users int
	// turns counts how often there were users: quiet is over when none has come since.
	turns int
	// index is held while index.json changes.
	index sync.Mutex
}

// holds are those of this process, however many stores it has: a lock belongs to a process.
var holds struct {
	sync.Mutex
	all []*hold
	// taken are the layouts that others were found to write to; they are not waited for again for a while.
	taken map[string]bool
}

// TakenError says that another process writes to a layout.
type TakenError struct {
	Dir string
	// Owner is what the other process says of itself; empty where it says nothing.
	Owner string
}

func (e *TakenError) Error() string {
	owner := e.Owner
	if owner == "" {
		owner = "another process"
	}
	return fmt.Sprintf("%s is being written by %s, and only one may at a time: wait until it is done, or give each a folder of its own", e.Dir, owner)
}

// acquire takes a layout for this process, until release has been called as often and some time has passed. Where another process has
// it, that one is waited for a little, until ctx ends; the error then is a *TakenError.
func acquire(ctx context.Context, dir string) (h *hold, release func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, nil, fmt.Errorf("lock layout %s: %w", dir, err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("lock layout %s: %w", dir, err), f.Close())
	}
	for waited := time.Duration(0); ; waited += look {
		h, again, err := take(dir, f, info, waited >= patience)
		if err != nil {
			return nil, nil, errors.Join(err, f.Close())
		}
		if !again {
			return h, func() { letGo(h) }, nil
		}
		select {
		case <-time.After(look):
		case <-ctx.Done():
			return nil, nil, errors.Join(ctx.Err(), f.Close())
		}
	}
}

// take makes this process a user of a layout, if no other process has it; again says that it is worth another look, but for the last one.
func take(dir string, f *os.File, info os.FileInfo, last bool) (h *hold, again bool, err error) {
	holds.Lock()
	defer holds.Unlock()
	if i := slices.IndexFunc(holds.all, func(h *hold) bool { return os.SameFile(h.info, info) }); i >= 0 {
		h = holds.all[i]
		h.users++
		h.turns++
		_ = f.Close() // it was opened to know the layout by, and nothing was written
		return h, false, nil
	}
	locked, err := file.TryLock(f, true)
	switch {
	case err != nil:
		return nil, false, fmt.Errorf("lock layout %s: %w", dir, err)
	case !locked && !last && !holds.taken[dir]:
		return nil, true, nil
	case !locked:
		if holds.taken == nil {
			holds.taken = map[string]bool{}
		}
		holds.taken[dir] = true
		time.AfterFunc(patience, func() {
			holds.Lock()
			defer holds.Unlock()
			delete(holds.taken, dir)
		})
		return nil, false, &TakenError{Dir: dir, Owner: owner(f)}
	}
	sign(f)
	h = &hold{file: f, info: info, users: 1, turns: 1}
	holds.all = append(holds.all, h)
	return h, false, nil
}

// letGo ends one use of a layout; after the last, other processes may have it once it has been quiet.
func letGo(h *hold) {
	holds.Lock()
	defer holds.Unlock()
	h.users--
	if h.users > 0 {
		return
	}
	turns := h.turns
	time.AfterFunc(quiet, func() {
		holds.Lock()
		defer holds.Unlock()
		if h.turns != turns {
			return
		}
		holds.all = slices.DeleteFunc(holds.all, func(other *hold) bool { return other == h })
		_ = h.file.Close() // gives the lock back
	})
}

// sign writes into the lock file who has it. On a full disk nobody is told, which is no reason to stop.
func sign(f *os.File) {
	host, _ := os.Hostname() // empty: then it is not named
	text := strings.TrimSuffix(fmt.Sprintf("process %d on %s", os.Getpid(), host), " on ")
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt([]byte(text+"\n"), 0)
	}
}

// owner reads what sign has written.
func owner(f *os.File) string {
	raw := make([]byte, maxOwner)
	n, _ := f.ReadAt(raw, 0) // the end of the file comes before that of raw
	text, _, _ := strings.Cut(string(raw[:n]), "\n")
	return text
}
