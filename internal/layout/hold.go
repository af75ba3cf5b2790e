package layout

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/draysync/dray/internal/file"
)

const (
	// quiet is how long a process keeps a layout after its last write, so that writes that belong together are not interrupted.
	quiet = time.Second
	// patience is how long a write waits for another process to release the layout; for as long again, later writes do not wait.
	patience = 5 * time.Second
	// look is the interval of these checks.
	look = 50 * time.Millisecond

	maxOwner = 256
)

// hold is a layout that this process writes to, and no other process at the same time.
type hold struct {
	file  *os.File // the lock file, locked
	info  os.FileInfo
	users int
	// turns counts the times when users appeared: quiet is over if none has appeared since.
	turns int
	// index is locked while index.json changes.
	index sync.Mutex
}

// holds are the holds of this process, for all its stores: a lock belongs to a process.
var holds struct {
	sync.Mutex
	all []*hold
	// taken are layouts that other processes write to; no one waits for them again for a while.
	taken map[string]bool
}

// TakenError reports that another process writes to a layout.
type TakenError struct {
	Dir string
	// Owner is what the other process says about itself; empty if it says nothing.
	Owner string
}

func (e *TakenError) Error() string {
	owner := e.Owner
	if owner == "" {
		owner = "another process"
	}
	return fmt.Sprintf("%s is being written by %s, and only one may at a time: wait until it is done, or give each a folder of its own", e.Dir, owner)
}

// acquire takes a layout for this process, until release was called as often and some time has passed. If another process has it, acquire
// waits a little, until ctx ends; the error then is a *TakenError.
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

// acquireUnless is acquire, but with dry it takes no layout that this process may only read, as on a disk that is mounted read-only.
func acquireUnless(ctx context.Context, dir string, dry bool) (h *hold, release func(), err error) {
	h, release, err = acquire(ctx, dir)
	if dry && (errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)) {
		return &hold{}, func() {}, nil
	}
	return h, release, err
}

// take makes this process a user of a layout, if no other process has it; again reports that another attempt may help, unless this was the last.
func take(dir string, f *os.File, info os.FileInfo, last bool) (h *hold, again bool, err error) {
	holds.Lock()
	defer holds.Unlock()
	if i := slices.IndexFunc(holds.all, func(h *hold) bool { return os.SameFile(h.info, info) }); i >= 0 {
		h = holds.all[i]
		h.users++
		h.turns++
		_ = f.Close() // nothing was written
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

// letGo ends one use of a layout; after the last use and some quiet, other processes may have it.
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
		_ = file.Unlock(h.file)
	})
}

// sign writes the owner into the lock file. If that fails, as on a full disk, the owner stays unnamed.
func sign(f *os.File) {
	host, _ := os.Hostname() // unnamed if empty
	text := strings.TrimSuffix(fmt.Sprintf("process %d on %s", os.Getpid(), host), " on ")
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt([]byte(text+"\n"), 0)
	}
}

// owner reads what sign has written.
func owner(f *os.File) string {
	raw := make([]byte, maxOwner)
	n, _ := f.ReadAt(raw, 0) // the file ends before raw does
	text, _, _ := strings.Cut(string(raw[:n]), "\n")
	return text
}
