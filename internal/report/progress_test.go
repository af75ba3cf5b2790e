package report

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/record"
)

// screen is a terminal as far as bars use one: it knows "cursor up, erase below" and nothing else.
type screen struct {
	mu    sync.Mutex
	lines []string
	rest  string
	fail  error
}

var upAndErase = regexp.MustCompile(`^\x1b\[(\d+)A\x1b\[J`)

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return 0, s.fail
	}
	text := string(b)
	for text != "" {
		if m := upAndErase.FindStringSubmatch(text); m != nil {
			var n int
			_, _ = fmt.Sscan(m[1], &n)
			s.lines = s.lines[:max(0, len(s.lines)-n)]
			text = text[len(m[0]):]
			continue
		}
		if text[0] == '\n' {
			s.lines, s.rest, text = append(s.lines, strings.TrimRight(s.rest, " ")), "", text[1:]
			continue
		}
		_, size := utf8.DecodeRuneInString(text)
		s.rest, text = s.rest+text[:size], text[size:]
	}
	return len(b), nil
}

// show returns what one sees.
func (s *screen) show() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(append(append([]string{}, s.lines...), s.rest), "\n")
}

// frame waits for the next two frames to be drawn: that is when what has ended is gone.
func frame() {
	time.Sleep(500 * time.Millisecond)
	synctest.Wait()
}

// ended is the outcome of an import that began.
func ended(out mirror.Outcome, status record.Status, bytes int64) mirror.Outcome {
	out.Status, out.Bytes, out.Duration = status, bytes, 1200*time.Millisecond
	return out
}

func TestProgress(t *testing.T) {
	for _, width := range []int{80, 120, 200} {
		t.Run(fmt.Sprint(width), func(t *testing.T) { progressAt(t, width) })
	}
}

func progressAt(t *testing.T, width int) {
	synctest.Test(t, func(t *testing.T) {
		var s screen
		var story strings.Builder
		tell := func(what string) {
			frame()
			fmt.Fprintf(&story, "== %s\n%s\n", what, s.show())
		}
		p := NewProgress(&s, width)
		tell("started")
		p.Observing(20)
		p.Observing(40)
		for range 15 {
			p.Observed()
		}
		tell("observing")
		p.Planned(4)
		tell("planned")
		first, second, empty := at(t, "3.20", 1, 0), at(t, "latest", 2, 3), at(t, "empty", 4, 0)
		m1 := p.Begin(first.Action)
		tell("begun, nothing expected yet")
		m1.Expect(40_000_000)
		m2 := p.Begin(second.Action)
		m2.Expect(80_000_000)
		p.Begin(empty.Action)
		m1.Moved(10_000_000)
		tell("moving")
		m1.Moved(20_000_000)
		m2.Moved(4_100_000)
		tell("moving on")
		m1.Moved(-25_000_000)
		tell("a retry took bytes back")
		m1.Moved(35_000_000)
		first.Digest = digest(99) // an engine may know better in the end
		p.End(ended(first, record.Imported, 40_000_000))
		p.End(ended(empty, record.Imported, 0))
		p.End(kept(t, "3.16"))
		tell("two are done")
		second.Err = errBroken
		p.End(ended(second, record.Failed, 0))
		fmt.Fprintln(p, "a line of the log")
		tell("one failed, one waits")
		p.Close()
		fmt.Fprintf(&story, "== closed\n%s\n", s.show())
		fmt.Fprintln(p, "a line after the end")
		p.Close()
		fmt.Fprintf(&story, "== after the end\n%s\n", s.show())
		checkHarmless(t, story.String())
		for _, line := range strings.Split(story.String(), "\n") {
			if n := utf8.RuneCountInString(line); n > width {
				t.Errorf("%d columns: %s", n, line)
			}
		}
		golden(t, fmt.Sprintf("progress-%d.txt", width), story.String())
	})
}

// A run that is cancelled closes with imports under way, and the rest of it still reports. The bubble fails where a
// goroutine is left over.
func TestProgressCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s screen
		p := NewProgress(&s, 0)
		var w mirror.Watcher = p
		w.Planned(3)
		out := at(t, "3.20", 1, 0)
		m := p.Begin(out.Action)
		p.Begin(at(t, "3.21", 1, 0).Action)
		m.Expect(100)
		frame()
		started := time.Now()
		p.Close()
		if took := time.Since(started); took > time.Second {
			t.Errorf("closing took %s", took)
		}
		if got := s.show(); got != "" {
			t.Errorf("left on the screen:\n%s", got)
		}
		m.Moved(10)
		p.Begin(at(t, "3.22", 1, 0).Action).Expect(1)
		out.Err = errBroken
		p.End(ended(out, record.Failed, 0))
		want := "x " + corp + ":3.20  failed\n"
		if d := cmp.Diff(want, s.show()); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	})
}

// A terminal that is gone must not stop the run.
func TestProgressBrokenTerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := screen{}
		p := NewProgress(&s, 80)
		out := at(t, "3.20", 1, 0)
		p.Begin(out.Action)
		frame()
		s.mu.Lock()
		s.fail = errBroken
		s.mu.Unlock()
		frame()
		p.Begin(at(t, "3.21", 1, 0).Action).Expect(5)
		p.End(ended(out, record.Imported, 1))
		p.Close()
	})
}

func TestProgressConcurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const imports = 200
		var s screen
		p := NewProgress(&s, 80)
		p.Planned(imports)
		var group sync.WaitGroup
		for i := range imports {
			group.Go(func() {
				p.Observing(1)
				out := at(t, fmt.Sprintf("v%d", i), 1, 0)
				m := p.Begin(out.Action)
				m.Expect(1000)
				for range 10 {
					m.Moved(100)
					time.Sleep(time.Duration(i) * time.Millisecond)
				}
				p.Observed()
				p.End(ended(out, record.Imported, 1000))
			})
		}
		frame()
		if n := strings.Count(s.show(), "\n"); n > maxBars+1+strings.Count(s.show(), "\n+ ")+1 {
			t.Errorf("%d lines on the screen:\n%s", n, s.show())
		}
		group.Wait()
		frame()
		if want := fmt.Sprintf("%d/%d images · 200/200 kB", imports, imports); !strings.Contains(s.show(), want) {
			t.Errorf("no %q in\n%s", want, s.show())
		}
		p.Close()
		if got := strings.Count(s.show(), " in 1.2s\n"); got != imports {
			t.Errorf("%d lines are left, want %d", got, imports)
		}
	})
}

// Closing while imports begin and end neither hangs nor races.
func TestProgressCloseRaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewProgress(&screen{}, 80)
		var group sync.WaitGroup
		for i := range 50 {
			group.Go(func() {
				out := at(t, fmt.Sprintf("v%d", i), 1, 0)
				time.Sleep(time.Duration(i*7) * time.Millisecond)
				p.Begin(out.Action).Moved(5)
				time.Sleep(20 * time.Millisecond)
				p.End(ended(out, record.Imported, 5))
			})
		}
		time.Sleep(150 * time.Millisecond)
		p.Close()
		group.Wait()
	})
}

// No frame is wider than the terminal, however narrow that is.
func TestProgressWidth(t *testing.T) {
	for _, width := range []int{1, 9, 20, 40, 79, 200} {
		t.Run(fmt.Sprint(width), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var s screen
				p := NewProgress(&s, width)
				p.Planned(2)
				m := p.Begin(at(t, strings.Repeat("long", 30), 1, 0).Action)
				m.Expect(120_000_000)
				for range 4 {
					m.Moved(10_000_000)
					frame()
				}
				for line := range strings.SplitSeq(s.show(), "\n") {
					if n := utf8.RuneCountInString(line); n > width {
						t.Errorf("%d columns: %q", n, line)
					}
				}
				p.Close()
			})
		})
	}
}

func TestMeter(t *testing.T) {
	tests := map[string]struct{ expect, moved, done, whole int64 }{
		"nothing":              {0, 0, 0, 0},
		"under way":            {10, 4, 4, 10},
		"more than expected":   {10, 12, 12, 12},
		"nothing expected":     {0, 3, 3, 3},
		"taken back too much":  {10, -4, 0, 10},
		"expected less in end": {-5, 0, 0, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var m meter
			m.Expect(test.expect)
			m.Moved(test.moved)
			if done, whole := m.read(); done != test.done || whole != test.whole {
				t.Errorf("got %d of %d, want %d of %d", done, whole, test.done, test.whole)
			}
		})
	}
}

func TestPace(t *testing.T) {
	now := time.Now()
	var p pace
	read := func(after time.Duration, bytes int64) float64 {
		now = now.Add(after)
		return p.read(now, bytes)
	}
	if got := read(0, 500); got != 0 {
		t.Errorf("a first reading gives %g", got)
	}
	if got := read(time.Second, 1500); got != 1000 {
		t.Errorf("1000 bytes in a second give %g", got)
	}
	if got := read(time.Millisecond, 1_000_000); got != 1000 {
		t.Errorf("a reading right after gives %g", got)
	}
	if got := read(time.Second, 100); got < 0 || got >= 1000 {
		t.Errorf("bytes that were taken back give %g", got)
	}
	for range 60 {
		read(time.Second, 100)
	}
	if got := read(time.Second, 100); got != 0 {
		t.Errorf("a minute's rest gives %g", got)
	}
}

func TestRemaining(t *testing.T) {
	tests := map[string]struct {
		rest, rate float64
		want       time.Duration
	}{
		"known":        {1000, 100, 10 * time.Second},
		"at least one": {1, 100, time.Second},
		"no rate":      {1000, 0, 0},
		"no rest":      {0, 100, 0},
		"overdone":     {-5, 100, 0},
		"ages":         {1e18, 1, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := remaining(test.rest, test.rate); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// Quiet is what a run without a terminal is watched by.
func TestQuiet(t *testing.T) {
	var w mirror.Watcher = Quiet{}
	allocs := testing.AllocsPerRun(10, func() {
		w.Observing(1)
		m := w.Begin(diff.Action{})
		m.Expect(1)
		m.Moved(1)
	})
	if allocs != 0 {
		t.Errorf("%g allocations", allocs)
	}
}
