package main

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/record"
)

// TestLogTail keeps the last lines of the log by job, as text, within bounds.
func TestLogTail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tail, began := &logTail{}, time.Now()
		log := slog.New(tailHandler{slog.NewTextHandler(io.Discard, nil), tail})
		say := func(job, text string) {
			log.LogAttrs(t.Context(), slog.LevelInfo, "imported", slog.String("job", job), slog.String("was", ""), slog.String("reason", text), slog.Duration("duration", 1500*time.Millisecond))
		}
		log.LogAttrs(t.Context(), slog.LevelInfo, "stopping")
		log.LogAttrs(t.Context(), slog.LevelDebug, "failed", slog.String("job", "app"))
		say("app", "the first run")
		time.Sleep(time.Minute)
		second := time.Now()
		say("app", "two\nlines")
		say("other", "not of app")
		say("app", strings.Repeat("ü", maxTailLine))
		texts := func(lines []record.LogLine) (all []string) {
			for _, l := range lines {
				all = append(all, l.Text)
			}
			return all
		}
		const begin = "level=INFO msg=imported reason="
		want := []string{begin + `"two\nlines" duration=1.5s`, begin + strings.Repeat("ü", (maxTailLine-len(begin)-len("…"))/2) + "…"}
		if d := cmp.Diff(want, texts(tail.since("app", second))); d != "" {
			t.Errorf("-want +got:\n%s", d)
		}
		if n := len(tail.since("app", began)); n != 3 {
			t.Errorf("%d lines of both runs", n)
		}
		for i := range 2*tailLines + 10 {
			say("app", fmt.Sprint(i))
		}
		all := tail.since("app", began)
		if len(all) != tailLines || !strings.Contains(all[0].Text, fmt.Sprintf("reason=%d ", tailLines+10)) || !strings.Contains(all[tailLines-1].Text, fmt.Sprintf("reason=%d ", 2*tailLines+9)) {
			t.Errorf("%d lines, from %q to %q", len(all), all[0].Text, all[len(all)-1].Text)
		}
	})
}
