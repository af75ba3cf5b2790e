package watch

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/draysync/dray/internal/fulltest"
)

// TestRandom does anything to the file and to what it leads through, and expects a report of each new content, by events alone.
func TestRandom(t *testing.T) {
	for seed := range fulltest.Rounds(4, 4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			m := &meddler{root: tree(t, "conf"), rnd: rand.New(rand.NewPCG(seed, 0))}
			path := filepath.Join(m.root, "conf", "dray.yaml")
			w := start(t, brisk(), path)
			last, log := "", []string(nil)
			for i := range 150 {
				name := m.step(i)
				log = append(log, name)
				now, _ := os.ReadFile(path)
				if string(now) == last {
					continue // as it was read; a report of what it was in between may come
				}
				if !await(w, path, string(now)) {
					t.Fatalf("step %d is not reported: %q, was %q, after %q", i, now, last, log[max(0, len(log)-6):])
				}
				last = string(now)
			}
		})
	}
}

func await(w *Watcher, path, want string) bool {
	timeout := time.After(time.Minute)
	for {
		select {
		case <-w.Changed():
			if got, _ := w.ReadFile(path); string(got) == want {
				return true
			}
		case <-timeout:
			return false
		}
	}
}

// meddler has root/conf, a folder or a symlink, and in it dray.yaml, a file or a symlink. Steps that fail change nothing.
type meddler struct {
	root string
	rnd  *rand.Rand
}

func (m *meddler) step(i int) string {
	conf := filepath.Join(m.root, "conf")
	path := filepath.Join(conf, "dray.yaml")
	text, fresh := fmt.Sprint(i), filepath.Join(m.root, fmt.Sprint("x", i))
	steps := []struct {
		name string
		do   func()
	}{
		{"write in place", func() { _ = write(path, text) }},
		{"write in place", func() { _ = write(path, text) }},
		{"rename over", func() { _ = write(fresh, text); _ = os.Rename(fresh, path) }},
		{"vim", func() { _ = os.Rename(path, path+"~"); _ = write(path, text) }},
		{"remove", func() { _ = os.Remove(path) }},
		{"turn the file", func() { _ = write(fresh, text); _ = turn(fresh, path) }},
		{"turn the file by two", func() {
			_ = os.Mkdir(fresh, 0o700)
			_ = write(filepath.Join(fresh, "far"), text)
			_ = os.Symlink("far", filepath.Join(fresh, "near"))
			_ = turn(filepath.Join(fresh, "near"), path)
		}},
		{"replace the target", func() {
			if target, err := filepath.EvalSymlinks(path); err == nil {
				_ = write(fresh, text)
				_ = os.Rename(fresh, target)
			}
		}},
		{"remove the target", func() {
			if target, err := filepath.EvalSymlinks(path); err == nil {
				_ = os.Remove(target)
			}
		}},
		{"lead to nowhere", func() { _ = turn(filepath.Join(m.root, "none", "at", "all"), path) }},
		{"remove the folder", func() { _ = os.RemoveAll(conf) }},
		{"make the folder", func() { _ = os.Mkdir(conf, 0o700); _ = write(path, text) }},
		{"make the folder", func() { _ = os.Mkdir(conf, 0o700); _ = write(path, text) }},
		{"replace the folder", func() {
			_ = os.Mkdir(fresh, 0o700)
			_ = write(filepath.Join(fresh, "dray.yaml"), text)
			_ = os.Rename(conf, fresh+".old")
			_ = os.Rename(fresh, conf)
		}},
		{"turn the folder", func() {
			_ = os.Mkdir(fresh, 0o700)
			_ = write(filepath.Join(fresh, "dray.yaml"), text)
			if info, err := os.Lstat(conf); err == nil && info.IsDir() {
				_ = os.RemoveAll(conf)
			}
			_ = turn(fresh, conf)
		}},
	}
	s := steps[m.rnd.IntN(len(steps))]
	s.do()
	return s.name
}
