package main

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/draysync/dray/internal/record"
)

const (
	// tailLines is how many lines of the log are kept, of all jobs, and maxTailLine the most bytes of one.
	tailLines   = 2000
	maxTailLine = 1000
)

// logTail keeps the last lines of the log that are about jobs, for the status page.
type logTail struct {
	mu    sync.Mutex
	lines []tailLine // a ring once it is full
	next  int
}

type tailLine struct {
	job string
	record.LogLine
}

func (t *logTail) add(line tailLine) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lines) < tailLines {
		t.lines = append(t.lines, line)
		return
	}
	t.lines[t.next] = line
	t.next = (t.next + 1) % tailLines
}

// since returns the lines about a job that are not older, the oldest first.
func (t *logTail) since(job string, begin time.Time) (lines []record.LogLine) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.lines {
		if l := &t.lines[(t.next+i)%len(t.lines)]; l.job == job && !l.At.Before(begin) {
			lines = append(lines, l.LogLine)
		}
	}
	return lines
}

// tailHandler also keeps what it handles.
type tailHandler struct {
	slog.Handler
	tail *logTail
}

// Handle implements slog.Handler.
func (h tailHandler) Handle(ctx context.Context, r slog.Record) error {
	r.Attrs(func(attr slog.Attr) bool {
		if attr.Key != "job" {
			return true
		}
		h.tail.add(tailLine{attr.Value.String(), record.LogLine{At: r.Time, Text: lineOf(ctx, r)}})
		return false
	})
	return h.Handler.Handle(ctx, r)
}

// lineOf writes a record as a line of text, without the time and the job.
func lineOf(ctx context.Context, r slog.Record) string {
	var b bytes.Buffer
	text := slog.NewTextHandler(&b, &slog.HandlerOptions{Level: r.Level, ReplaceAttr: func(groups []string, attr slog.Attr) slog.Attr {
		switch {
		case attr.Key == slog.TimeKey || attr.Key == "job" || attr.Value.Equal(slog.StringValue("")):
			return slog.Attr{}
		}
		return readable(groups, attr)
	}})
	_ = text.Handle(ctx, r) // a buffer takes everything
	line := strings.TrimSuffix(b.String(), "\n")
	if len(line) > maxTailLine {
		line = strings.ToValidUTF8(line[:maxTailLine-len("…")], "") + "…"
	}
	return line
}
