package watch

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// blind sees what the test tells it.
type blind struct {
	*diary
	stirs chan struct{}
	whole bool
}

// diary is what a blind one notes.
type diary struct {
	mu sync.Mutex
	// looks are when it was told what to watch; the next fresh of them are on something new.
	looks []time.Time
	fresh int
	// pause is how long the next look takes.
	pause time.Duration
}

// begin forgets the looks, and makes the next ones fresh.
func (d *diary) begin(fresh int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.looks, d.fresh = nil, fresh
}

func (d *diary) all() []time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.looks
}

func (b blind) watch(watchPaths) (fresh, whole bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.looks = append(b.looks, time.Now())
	time.Sleep(b.pause)
	b.pause = 0
	if b.fresh > 0 {
		b.fresh--
		return true, b.whole
	}
	return false, b.whole
}
func (b blind) stirred() <-chan struct{} { return b.stirs }
func (b blind) close()                   {}

// inBubble runs a watcher of one real file, whose content is "0", in virtual time.
func inBubble(t *testing.T, opts Options, whole bool, test func(t *testing.T, w *Watcher, path string, stir func())) {
	inBubbleWith(t, opts, blind{whole: whole, diary: &diary{}}, test)
}

func inBubbleWith(t *testing.T, opts Options, b blind, test func(t *testing.T, w *Watcher, path string, stir func())) {
	path := filepath.Join(tree(t), "dray.yaml")
	must(t, write(path, "0"))
	synctest.Test(t, func(t *testing.T) {
		b.stirs = make(chan struct{}, 1) // of this bubble
		w := New(opts)
		w.SetFiles([]string{path})
		ctx, cancel := context.WithCancel(t.Context())
		go w.run(ctx, b)
		time.Sleep(100 * time.Second / 3) // the first look is over, the polls are anywhere
		synctest.Wait()
		test(t, w, path, func() { signal(b.stirs); synctest.Wait() })
		cancel()
		synctest.Wait()
	})
}

// reported returns how long the next report took, within a minute.
func reported(w *Watcher) (time.Duration, bool) {
	start := time.Now()
	select {
	case <-w.Changed():
		return time.Since(start), true
	case <-time.After(time.Minute):
		return 0, false
	}
}

func TestPoll(t *testing.T) {
	tests := map[string]struct {
		opts  Options
		whole bool
		limit time.Duration
	}{
		"by default":              {whole: true, limit: 30 * time.Second},
		"blind":                   {limit: 5 * time.Second},
		"as said":                 {opts: Options{Poll: 8 * time.Second}, whole: true, limit: 8 * time.Second},
		"as said, blind":          {opts: Options{Poll: 8 * time.Second}, limit: 5 * time.Second},
		"often as said, blind":    {opts: Options{Poll: 2 * time.Second}, limit: 2 * time.Second},
		"not with every debounce": {opts: Options{Poll: 100 * time.Millisecond}, whole: true, limit: 350 * time.Millisecond},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, tt.opts, tt.whole, func(t *testing.T, w *Watcher, path string, _ func()) {
				var longest time.Duration
				for i := range 40 {
					must(t, write(path, string(rune('a'+i))))
					took, ok := reported(w)
					if !ok {
						t.Fatal("not reported")
					}
					longest = max(longest, took)
					time.Sleep(time.Duration(i) * 331 * time.Millisecond) // another place between two polls
				}
				if longest > tt.limit || longest < tt.limit*3/4 {
					t.Errorf("the longest took %v, the limit is %v", longest, tt.limit)
				}
			})
		})
	}
}

func TestSettling(t *testing.T) {
	ms := func(n ...int) (all []time.Duration) {
		for _, n := range n {
			all = append(all, time.Duration(n)*time.Millisecond)
		}
		return all
	}
	tests := map[string]struct {
		// stirs are the pauses before each event; want is when reports come after the first one.
		stirs, want []time.Duration
	}{
		"one event":                    {stirs: ms(0), want: ms(250)},
		"two at once":                  {stirs: ms(0, 200), want: ms(450)},
		"two apart":                    {stirs: ms(0, 300), want: ms(250, 550)},
		"without end":                  {stirs: ms(0, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200), want: ms(2000, 2450)},
		"a burst after a long silence": {stirs: ms(0, 20000, 100, 100), want: ms(250, 20450)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, Options{Poll: never}, true, func(t *testing.T, w *Watcher, path string, stir func()) {
				start := time.Now()
				go func() {
					for i, pause := range tt.stirs {
						time.Sleep(pause)
						_ = write(path, string(rune('a'+i)))
						stir()
					}
				}()
				var got []time.Duration
				for {
					if _, ok := reported(w); !ok {
						break
					}
					got = append(got, time.Since(start))
				}
				if d := cmp.Diff(tt.want, got); d != "" {
					t.Error(d)
				}
			})
		})
	}
}

// TestStandsStill: a file that is half written when the process, and whoever writes it, stands still is not read before the rest is there.
func TestStandsStill(t *testing.T) {
	for _, pause := range []time.Duration{500 * time.Millisecond, 10 * time.Second} {
		for i := range 20 { // which of the timers, and of another event, is seen first is up to chance
			b := blind{whole: true, diary: &diary{}}
			inBubbleWith(t, Options{Poll: never}, b, func(t *testing.T, w *Watcher, path string, stir func()) {
				b.pause = pause
				must(t, write(path, "ha"))
				stir()
				if i%2 > 0 {
					stir()
				}
				go func() {
					time.Sleep(pause + 100*time.Millisecond)
					_ = write(path, "half")
					stir()
				}()
				took, ok := reported(w)
				if want := pause + 350*time.Millisecond; !ok || took != want {
					t.Errorf("a pause of %s: it is reported after %s, want %s", pause, took, want)
				}
				if _, again := reported(w); again {
					t.Error("it is reported twice")
				}
			})
		}
	}
}

// TestLooks looks for folders that were replaced when a burst begins, so that what happens in them next has an event, and
// when it has ended.
func TestLooks(t *testing.T) {
	b := blind{whole: true, diary: &diary{}}
	inBubbleWith(t, Options{Poll: never}, b, func(t *testing.T, _ *Watcher, _ string, stir func()) {
		b.begin(0)
		start := time.Now()
		for range 3 {
			stir()
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(time.Second)
		var got []time.Duration
		for _, at := range b.all() {
			got = append(got, at.Sub(start))
		}
		if d := cmp.Diff([]time.Duration{0, 450 * time.Millisecond}, got); d != "" {
			t.Error(d)
		}

		// What is watched anew may have changed before, so it looks again, but not for ever.
		for fresh, want := range map[int]int{3: 4, 1000: maxLooks} {
			b.begin(fresh)
			stir()
			if got := len(b.all()); got != want {
				t.Errorf("%d looks while %d are fresh, want %d", got, fresh, want)
			}
			b.begin(0)
			time.Sleep(time.Second)
		}
	})
}

// TestSettle fires once for what was touched, by either channel.
func TestSettle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSettle(time.Second, 3*time.Second)
		fires := func() (left, enough int) {
			for {
				select {
				case <-s.left.C:
					left++
				case <-s.enough.C:
					enough++
				case <-time.After(time.Minute):
					return left, enough
				}
				s.done()
			}
		}
		expect := func(what string, left, enough int) {
			t.Helper()
			if l, e := fires(); l != left || e != enough {
				t.Errorf("%s: %d and %d times", what, l, e)
			}
		}
		expect("untouched", 0, 0)
		if !s.touch() || s.touch() {
			t.Error("the first touch is not the first")
		}
		expect("touched", 1, 0)
		for range 6 {
			s.touch()
			time.Sleep(500*time.Millisecond - 1)
		}
		s.touch()
		expect("touched for long", 0, 1)
		s.touch()
		s.done()
		expect("done", 0, 0)
	})
}

// TestOnce has no report of what is as it was reported last, whatever was seen of it.
func TestOnce(t *testing.T) {
	inBubble(t, Options{}, true, func(t *testing.T, w *Watcher, path string, stir func()) {
		none := func(when string) {
			t.Helper()
			if _, ok := reported(w); ok {
				t.Error("reported", when)
			}
		}
		none("at first")
		stir()
		none("after an event alone")
		must(t, write(path, "1"))
		stir()
		must(t, write(path, "0"))
		stir()
		none("after there and back")

		must(t, write(path, "1"))
		stir()
		time.Sleep(time.Minute)
		must(t, write(path, "2"))
		stir()
		time.Sleep(time.Minute)
		if _, ok := reported(w); !ok {
			t.Error("not reported")
		}
		none("twice to one who takes it late")
		must(t, write(path, "1"))
		stir()
		if _, ok := reported(w); !ok {
			t.Error("the way back is not reported")
		}
	})
}

// TestSet changes the set of files.
func TestSet(t *testing.T) {
	inBubble(t, Options{}, true, func(t *testing.T, w *Watcher, path string, _ func()) {
		secret := path + ".secret"
		load := func() { _, _ = w.ReadFile(secret) }
		step := func(what string, change func(), want bool) {
			t.Helper()
			change()
			if _, got := reported(w); got != want {
				t.Errorf("%s: reported %v", what, got)
			}
		}
		step("a file that is not there", load, false)
		step("it comes", func() { must(t, write(secret, "1")) }, true)
		step("read", load, false)
		step("the same set", func() { w.SetFiles([]string{secret, path, path}) }, false)
		step("a change right before the set stays one", func() { must(t, write(secret, "2")); w.SetFiles([]string{path, secret}) }, true)
		step("taken out", func() { w.SetFiles([]string{path}) }, false)
		step("changed while out", func() { must(t, write(secret, "4")) }, false)
		step("put in", func() { w.SetFiles([]string{path, secret}) }, false)
		step("changed right after", func() { must(t, write(secret, "5")) }, true)
		step("no files", func() { w.SetFiles(nil) }, false)
		step("changed without files", func() { must(t, write(secret, "6"), write(path, "6")) }, false)
		step("read while out", load, false)
		step("changed right after reading", func() { must(t, write(secret, "7")) }, true)
		step("changed between two readings", func() { load(); must(t, write(secret, "8")); load() }, true)
		step("read again", load, false)
	})
}

// TestBetween changes a file between a report and the reading, and then back to what was reported.
func TestBetween(t *testing.T) {
	inBubble(t, Options{}, true, func(t *testing.T, w *Watcher, path string, _ func()) {
		must(t, write(path, "1"))
		if _, ok := reported(w); !ok {
			t.Fatal("not reported")
		}
		must(t, write(path, "2"))
		if data, _ := w.ReadFile(path); string(data) != "2" {
			t.Fatalf("read %q", data)
		}
		must(t, write(path, "1"))
		for range 2 { // one may be of the reading alone
			reported(w)
			if data, _ := w.ReadFile(path); string(data) == "1" {
				return
			}
			time.Sleep(time.Second)
		}
		t.Error("not reported")
	})
}

// TestList follows which files a pattern matches, and not what is in them.
func TestList(t *testing.T) {
	inBubble(t, Options{}, true, func(t *testing.T, w *Watcher, path string, _ func()) {
		dir := filepath.Join(filepath.Dir(path), "conf.d")
		pattern := filepath.Join(dir, "*.yaml")
		step := func(what string, change func() error, want bool) {
			t.Helper()
			must(t, change())
			if _, got := reported(w); got != want {
				t.Errorf("%s: reported %v", what, got)
			}
		}
		list := func(want ...string) func() error {
			return func() error {
				got, _ := w.List(pattern)
				for i := range got {
					got[i] = filepath.Base(got[i])
				}
				if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
					t.Error(d)
				}
				return nil
			}
		}
		step("a folder that is not there", list(), false)
		step("it comes", func() error { return os.Mkdir(dir, 0o700) }, true)
		step("a file comes", func() error { return write(filepath.Join(dir, "a.yaml"), "1") }, true)
		step("listed", list("a.yaml"), false)
		step("the file changes", func() error { return write(filepath.Join(dir, "a.yaml"), "2") }, false)
		step("one that does not match", func() error { return write(filepath.Join(dir, "a.yaml~"), "1") }, false)
		step("another comes, and is listed before the report", func() error { return errors.Join(write(filepath.Join(dir, "b.yaml"), "1"), list("a.yaml", "b.yaml")()) }, true)
		step("the set keeps what is known", func() error { w.SetFiles([]string{path}, pattern); return nil }, false)
		step("a link comes", func() error { return os.Symlink("a.yaml", filepath.Join(dir, "c.yaml")) }, true)
		step("one goes", func() error { return os.Remove(filepath.Join(dir, "a.yaml")) }, true)
		step("taken out", func() error { w.SetFiles([]string{path}); return nil }, false)
		step("one goes while out", func() error { return os.Remove(filepath.Join(dir, "b.yaml")) }, false)
	})
}
