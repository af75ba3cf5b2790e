package serve

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
	"time"

	"github.com/draysync/dray/internal/file"
	"github.com/draysync/dray/internal/flight"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/layout"
)

// repositories finds what is served under a name.
type repositories struct {
	layouts []Layout
	store   *layout.Store
	warn    func(path string, err error)

	walking flight.Group[[]place]

	mu     sync.Mutex
	known  map[string]*known
	places []place
	walked time.Time
}

// place is a layout that was found below a folder, with the name it has by that; empty if that is no name of a repository.
type place struct{ name, dir string }

// known is the last view of a layout, for whoever has the turn.
type known struct {
	turn chan struct{}
	view *layout.View
}

// repository is a repository at one moment.
type repository struct {
	*layout.View

	dir string
	// full is the full name that images in index.json have; empty for all that the layout has.
	full string
}

// find returns a repository. The error wraps [image.ErrAbsent] if there is none.
func (r *repositories) find(ctx context.Context, name string) (repository, error) {
	for _, l := range r.layouts {
		for _, below := range l.candidates(name) {
			dir := filepath.Join(l.Path, below)
			view, err := r.look(ctx, l.Path, dir, below)
			if !errors.Is(err, image.ErrAbsent) {
				return repository{view, dir, ""}, err
			}
		}
	}
	places, err := r.walk(ctx)
	if err != nil {
		return repository{}, err
	}
	for _, p := range places {
		view, err := r.look(ctx, p.dir, p.dir, ".")
		if err != nil {
			continue
		}
		if _, ok := view.Tags(name); ok {
			return repository{view, p.dir, name}, nil
		}
	}
	return repository{}, fmt.Errorf("repository %s: %w", name, image.ErrAbsent)
}

// candidates returns where a repository may be, below the path.
func (l Layout) candidates(name string) (below []string) {
	own, rest, ok := l.Name, name, true
	if own == "" {
		own = filepath.Base(l.Path)
	} else {
		rest, ok = strings.CutPrefix(name, own+"/")
	}
	if name == own {
		below = append(below, ".")
	}
	if ok {
		below = append(below, filepath.FromSlash(rest))
	}
	return below
}

// look returns the view of a layout, which is below a folder. The last one stays while index.json cannot be read.
func (r *repositories) look(ctx context.Context, folder, dir, below string) (*layout.View, error) {
	if below != "." && !inside(folder, filepath.Join(below, "index.json")) {
		return nil, image.ErrAbsent
	}
	r.mu.Lock()
	k := r.known[dir]
	if k == nil {
		k = &known{turn: make(chan struct{}, 1)}
		r.known[dir] = k
	}
	r.mu.Unlock()
	// One reads what has changed. Nobody joins a reading that began before, since the writer may have told of a change meanwhile.
	select {
	case k.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { <-k.turn }()
	view, err := layout.Look(dir, k.view)
	if err != nil && !errors.Is(err, image.ErrAbsent) {
		r.warn(dir, err)
		if k.view != nil {
			return k.view, nil
		}
	}
	k.view = view
	return view, err
}

// inside reports whether a file is below a folder, and no symbolic link on the way leads out of it. One that is there and cannot be opened is: who reads
// it says why.
func inside(folder, name string) bool {
	f, err := file.OpenBelow(folder, name)
	if err == nil {
		f.Close()
		return true
	}
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	_, err = file.RealBelow(folder, name)
	return err == nil || errors.Is(err, fs.ErrPermission)
}

// walkEvery is how long a list of layouts serves.
const walkEvery = 2 * time.Second

// walk returns all layouts, as they were at most two seconds ago.
func (r *repositories) walk(ctx context.Context) ([]place, error) {
	return r.walking.Do(ctx, "", func(context.Context) ([]place, error) {
		r.mu.Lock()
		places, walked := r.places, r.walked
		r.mu.Unlock()
		if !walked.IsZero() && time.Since(walked) < walkEvery {
			return places, nil
		}
		places = nil
		for _, l := range r.layouts {
			places = append(places, r.below(l)...)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.places, r.walked = places, time.Now()
		return places, nil
	})
}

// below returns a layout and those below its path.
func (r *repositories) below(l Layout) []place {
	path := l.Path
	if _, err := os.Stat(path); err != nil {
		return nil // it may be there later
	}
	dirs, err := r.store.Inside(image.Repository{Path: path})
	if err != nil && !errors.Is(err, image.ErrAbsent) {
		r.warn(path, err)
	}
	own := l.Name
	if own == "" {
		own = filepath.Base(l.Path)
	}
	places := []place{{validName(own), l.Path}}
	for _, dir := range dirs {
		below, err := filepath.Rel(path, dir)
		if err != nil || !inside(path, filepath.Join(below, "index.json")) {
			continue
		}
		name := filepath.ToSlash(below)
		if l.Name != "" {
			name = l.Name + "/" + name
		}
		places = append(places, place{validName(name), dir})
	}
	return places
}

func validName(name string) string {
	if !image.ValidPath(name) {
		return ""
	}
	return name
}

// names returns the names of all repositories, sorted.
func (r *repositories) names(ctx context.Context) ([]string, error) {
	places, err := r.walk(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, p := range places {
		view, err := r.look(ctx, p.dir, p.dir, ".")
		if err != nil {
			continue
		}
		names = append(names, view.Repositories()...)
		if p.name != "" {
			names = append(names, p.name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), ctx.Err()
}
