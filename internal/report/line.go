package report

import (
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

const (
	minName  = 24
	maxName  = 72
	maxBar   = 30
	minBar   = 8
	barScale = 1000
)

// look is one line of a frame: text around a bar.
type look struct {
	left, right string
	// part is how much of the bar is filled, 0 to 1; negative for no bar.
	part float64
}

const noBar = -1

// decorated returns the options of a line that never outlives its end and whose look is asked for once a frame.
func decorated(state *look, see func(width int) look) []mpb.BarOption {
	left := func(st decor.Statistics) string {
		*state = see(st.AvailableWidth)
		return state.left
	}
	right := func(decor.Statistics) string { return state.right }
	return []mpb.BarOption{
		mpb.BarRemoveOnComplete(), mpb.BarFillerTrim(),
		mpb.PrependDecorators(decor.Any(left)), mpb.AppendDecorators(decor.Any(right)),
	}
}

// fill returns what draws the bar of a look, where there is room for one.
func fill(state *look) mpb.BarFiller {
	bar := mpb.BarStyle().Rbound("] ").Build()
	return mpb.BarFillerFunc(func(w io.Writer, st decor.Statistics) error {
		if state.part < 0 || st.AvailableWidth < minBar {
			return nil
		}
		st.RequestedWidth = maxBar
		st.Total, st.Current, st.Refill = barScale, int64(min(1, state.part)*barScale), 0
		return bar.Fill(w, st)
	})
}

// totalLine draws the line about the whole. It is used by one goroutine at a time.
type totalLine struct {
	progress *Progress
	pace     pace
	look     look
}

func (l *totalLine) filler() mpb.BarFiller { return fill(&l.look) }

func (l *totalLine) options() []mpb.BarOption {
	see := func(width int) look { return l.see(time.Now(), width) }
	return append(decorated(&l.look, see), mpb.BarPriority(lowest))
}

func (l *totalLine) see(now time.Time, width int) look {
	t := l.progress.totals()
	switch {
	case t.begun > 0:
		return importing(t, l.pace.read(now, t.done), width)
	case t.planned == 0:
		return look{left: "nothing to import", part: noBar}
	case t.planned > 0:
		return look{left: count(t.planned, "image") + " to import", part: noBar}
	case t.tags > 0:
		right := fmt.Sprintf("%d/%d", t.seen, t.tags)
		return look{left: "looking at " + count(t.tags, "tag") + " ", right: right, part: float64(t.seen) / float64(t.tags)}
	}
	return look{left: "looking for tags", part: noBar}
}

func importing(t totals, rate float64, width int) look {
	planned := max(t.planned, t.begun)
	v := look{part: float64(t.ended) / float64(planned)}
	parts := []string{fmt.Sprintf("%d/%s", t.ended, count(planned, "image"))}
	if t.whole > 0 {
		v.part = float64(t.done) / t.estimate()
		parts = append(parts, progressSize(t.done, t.whole))
	}
	if t.done < t.whole {
		rest := 0.0
		if t.known() {
			rest = t.estimate() - float64(t.done)
		}
		parts = append(parts, speed(rate, rest)...)
	}
	v.right = fit(parts, width-minBar)
	return v
}

// speed says how fast it goes and how long the rest takes, as far as that is known.
func speed(rate, rest float64) []string {
	var parts []string
	if rate > 0 {
		parts = append(parts, Size(int64(rate))+"/s")
	}
	if left := remaining(rest, rate); left > 0 {
		parts = append(parts, "ETA "+Elapsed(left.Round(time.Second)))
	}
	return parts
}

// importLine draws the line about one import. It is used by one goroutine at a time.
type importLine struct {
	meter *meter
	pace  pace
	look  look
}

func (l *importLine) filler() mpb.BarFiller { return fill(&l.look) }

func (l *importLine) options() []mpb.BarOption {
	return decorated(&l.look, func(width int) look { return l.see(time.Now(), width) })
}

// see shows a bar only once bytes are expected; an import without any has just its time. One whose bytes have all come has no speed.
func (l *importLine) see(now time.Time, width int) look {
	done, whole := l.meter.read()
	column := min(maxName, max(minName, width/3))
	v := look{left: "  " + pad(middle(l.meter.name, column), column) + " ", part: noBar}
	rate := l.pace.read(now, done)
	if whole == 0 {
		v.right = Elapsed(now.Sub(l.meter.started).Truncate(time.Second))
		return v
	}
	v.part = float64(done) / float64(whole)
	parts := []string{progressSize(done, whole)}
	if done < whole {
		parts = append(parts, speed(rate, float64(whole-done))...)
	}
	v.right = fit(parts, width-column-len("   ")-minBar)
	return v
}

// fit joins as many parts as there is room for, in columns, but the first in any case.
func fit(parts []string, room int) string {
	text := parts[0]
	for _, p := range parts[1:] {
		longer := text + " · " + p
		if utf8.RuneCountInString(longer) > room {
			break
		}
		text = longer
	}
	return text
}

// middle shortens a name in its middle: it begins with the registry, and its end tells images apart.
func middle(name string, limit int) string {
	runes := []rune(name)
	if len(runes) <= limit {
		return name
	}
	begin := max(0, limit-1) / 3
	return string(runes[:begin]) + "…" + string(runes[len(runes)-max(0, limit-1-begin):])
}
