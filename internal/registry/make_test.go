package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/image"
)

// lacking is a registry that knows a repository only a while after it was made.
type lacking struct {
	next  http.Handler
	takes time.Duration
	mu    sync.Mutex
	made  time.Time
}

// ServeHTTP answers that there is no repository, or as the registry does.
func (l *lacking) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	known := !l.made.IsZero() && time.Since(l.made) >= l.takes
	l.mu.Unlock()
	if known {
		l.next.ServeHTTP(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusNotFound)
	fmt.Fprint(w, `{"errors":[{"code":"NAME_UNKNOWN","message":"The repository with name 'app' does not exist in the registry"}]}`)
}

func (l *lacking) make() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.made = time.Now()
}

// uploads sends n blobs at once, and returns the errors.
func uploadsOf(t *testing.T, c *Client, n int) []error {
	errs := make([]error, n)
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			data, opened := []byte(fmt.Sprint("blob ", i)), 0
			_, errs[i] = c.PutBlob(t.Context(), at("app"), content(data), at("base"), source(data, &opened), nil)
		})
	}
	group.Wait()
	return errs
}

// TestMake: 50 uploads into a repository that does not exist make it once, also where the registry takes a moment to know it.
func TestMake(t *testing.T) {
	for _, takes := range []time.Duration{0, 3 * time.Second} {
		inBubble(t, func(t *testing.T) {
			r := emulator.New(emulator.Options{})
			l := &lacking{next: r, takes: takes}
			var made atomic.Int32
			c := client(t, emulator.Network{home: l}, Options{Make: map[string]func(context.Context, image.Repository) error{home: func(ctx context.Context, repo image.Repository) error {
				made.Add(1)
				time.Sleep(time.Second)
				if repo != at("app") {
					t.Errorf("%s is made", repo)
				}
				l.make()
				return nil
			}}})
			for _, err := range uploadsOf(t, c, 50) {
				if err != nil {
					t.Error(err)
				}
			}
			if made.Load() != 1 {
				t.Errorf("made %d times", made.Load())
			}
		})
	}
}

// TestMakeFails: why is said with each upload, and it is tried once in a minute.
func TestMakeFails(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		made := 0
		c := client(t, emulator.Network{home: &lacking{}}, Options{Make: map[string]func(context.Context, image.Repository) error{home: func(context.Context, image.Repository) error {
			made++
			return errors.New("create the repository: allow it in IAM")
		}}})
		for _, err := range uploadsOf(t, c, 10) {
			e := failure(t, err)
			contains(t, e.Error(), "NAME_UNKNOWN", "create the repository: allow it in IAM")
			if e.Temporary() {
				t.Error("it may pass")
			}
		}
		if made != 1 {
			t.Errorf("tried %d times", made)
		}
		time.Sleep(recentFor)
		if _ = uploadsOf(t, c, 2); made != 2 {
			t.Errorf("tried %d times, a minute later", made)
		}
	})
}

// TestMakeIsNotWanted: other registries, other refusals and reads make nothing.
func TestMakeIsNotWanted(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		never := map[string]func(context.Context, image.Repository) error{other: func(context.Context, image.Repository) error {
			t.Error("a repository is made")
			return nil
		}}
		c := client(t, emulator.Network{home: &lacking{}, other: emulator.New(emulator.Options{ReadOnly: true})}, Options{Make: never})
		if errs := uploadsOf(t, c, 1); errs[0] == nil || failure(t, errs[0]).ErrorCode != "NAME_UNKNOWN" {
			t.Error(errs)
		}
		data, opened := []byte("x"), 0
		if _, err := c.PutBlob(t.Context(), image.Repository{Registry: other, Path: "app"}, content(data), image.Repository{}, source(data, &opened), nil); err == nil {
			t.Error("a registry that is read-only takes a blob")
		}
		if has, err := c.HasBlob(t.Context(), image.Repository{Registry: other, Path: "none"}, content(data)); has || err != nil {
			t.Error(has, err)
		}
	})
}
