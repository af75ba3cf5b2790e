package registry

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// Findings keeps small states by name, across restarts and for all processes that share it.
type Findings interface {
	// Change replaces the state of a name with what change makes of it, which is nil to leave it; state is nil if there is none.
	Change(ctx context.Context, name string, change func(state []byte, now time.Time) []byte) error
}

// finding is what is known of the listing of a registry, or of one of its repositories. The zero value is nothing.
type finding struct {
	// Kind is which listing a registry has.
	Kind string `json:"kind,omitzero"`
	// Checked is until when a listing counts as right, since HEADs have agreed with it; Off until when it is not used, since one has not.
	Checked time.Time `json:"checked,omitzero"`
	Off     time.Time `json:"off,omitzero"`
	// Rests is until when it is not asked for, since it was refused or failed.
	Rests time.Time `json:"rests,omitzero"`
	// Missing says that it rests since there was none, which a push may change.
	Missing bool `json:"missing,omitzero"`
	// Refreshed is when the listing of a repository last showed what a tag holds only after a HEAD.
	Refreshed time.Time `json:"refreshed,omitzero"`
	// Swept is when every tag of a repository was last compared by HEAD.
	Swept time.Time `json:"swept,omitzero"`
	// Size is how many items the listing of a repository had.
	Size int `json:"size,omitzero"`
	// Doubted is a tag that did not hold what was listed.
	Doubted string `json:"doubted,omitzero"`
}

// findings remembers findings by registry, and by repository. It works without a store, and then as long as the process.
type findings struct {
	kept Findings
	log  *slog.Logger

	mu    sync.Mutex
	known map[string]*known
	// silent is until when the store is left alone, since it did not answer.
	silent time.Time
}

// known is a finding with what this process has found since it was read from the store; read is when, and zero if the store has not answered.
type known struct {
	finding
	read time.Time
}

const (
	// findingsName is what the names of states begin with.
	findingsName = "listing "
	// maxFindings limits the findings in memory: more than both sides of ten thousand mappings have.
	maxFindings = 50_000
	// rereadAfter is when a registry's finding is read again, since another process may have switched its listing off.
	rereadAfter = time.Minute
)

// get returns what is known.
func (f *findings) get(ctx context.Context, name string) finding {
	before := f.have(name)
	if before != nil && !before.read.IsZero() && (strings.Contains(name, "/") || time.Since(before.read) < rereadAfter) {
		return before.finding
	}
	var stored finding
	answered := f.store(ctx, name, func(of finding) (finding, bool) { stored = of; return of, false })
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.known[name]
	if answered && now == before {
		if before != nil && before.Off.After(stored.Off) {
			stored.Off = before.Off // the store did not take it
		}
		now = &known{stored, time.Now()}
		f.put(name, now)
	}
	if now == nil {
		return finding{}
	}
	return now.finding
}

func (f *findings) have(name string) *known {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.known[name]
}

// put keeps a finding. The caller holds the lock.
func (f *findings) put(name string, of *known) {
	if f.known == nil || f.known[name] == nil && len(f.known) >= maxFindings {
		f.known = map[string]*known{}
	}
	f.known[name] = of
}

// change changes what is known, if apply reports that it has. apply is then called again with what is stored.
func (f *findings) change(ctx context.Context, name string, apply func(*finding) bool) {
	f.get(ctx, name)
	if f.changed(name, apply) {
		f.store(ctx, name, func(stored finding) (finding, bool) {
			changed := apply(&stored)
			return stored, changed
		})
	}
}

// changed changes what is known here.
func (f *findings) changed(name string, apply func(*finding) bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	var now known
	if before := f.known[name]; before != nil {
		now = *before
	}
	changed := apply(&now.finding)
	if changed {
		f.put(name, &now)
	}
	return changed
}

// storePatience is how long a store may take, and storeRests how long one is left alone that took longer: it is a help, not the truth.
const (
	storePatience = 5 * time.Second
	storeRests    = time.Minute
)

// store lets change see what is stored, and stores what it returns, if that has changed. It reports whether the store has answered.
func (f *findings) store(ctx context.Context, name string, change func(finding) (finding, bool)) bool {
	f.mu.Lock()
	silent := f.kept == nil || time.Now().Before(f.silent)
	f.mu.Unlock()
	if silent {
		return false
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storePatience)
	defer cancel()
	err := f.kept.Change(ctx, findingsName+name, func(state []byte, _ time.Time) []byte {
		var stored finding
		_ = json.Unmarshal(state, &stored) // one that cannot be read is none
		changed, ok := change(stored)
		if !ok {
			return nil
		}
		state, _ = json.Marshal(changed) // of times, texts and numbers
		return state
	})
	if err == nil {
		return true
	}
	f.mu.Lock()
	f.silent = time.Now().Add(storeRests)
	f.mu.Unlock()
	f.log.LogAttrs(ctx, slog.LevelDebug, "the store did not answer; going on without it", slog.Any("err", err))
	return false
}
