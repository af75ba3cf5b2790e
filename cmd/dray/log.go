package main

import (
	"cmp"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/lmittmann/tint"
	"golang.org/x/term"

	"github.com/draysync/dray/internal/config"
	"github.com/draysync/dray/internal/report"
)

// terminal returns the width of the terminal that w is; false where it is none.
func terminal(w io.Writer) (int, bool) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0, false
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width <= 0 {
		width = 80
	}
	return width, true
}

// style says how answers are laid out: with colours only on a terminal, and not where NO_COLOR is set (no-color.org).
func (a *app) style() report.Style {
	width, ok := terminal(a.out)
	return report.Style{Color: ok && a.colors(), Width: width, Verbose: a.verbose}
}

func (a *app) colors() bool { return a.env("NO_COLOR") == "" && a.env("TERM") != "dumb" }

// logger makes the log by the config and the flags, which go before it.
func (a *app) logger(log config.Log) *slog.Logger { return a.loggerAt(log, a.level(log)) }

// level is the least important level to log.
func (a *app) level(log config.Log) slog.Level {
	var level slog.Level
	if text := cmp.Or(a.logLevel, log.Level); text != "" {
		_ = level.UnmarshalText([]byte(text)) // both sources are checked
	}
	return level
}

// loggerAt is logger with a level that may change.
func (a *app) loggerAt(log config.Log, level slog.Leveler) *slog.Logger {
	format := cmp.Or(a.logFormat, log.Format)
	_, onTerminal := terminal(a.err)
	if format == "json" || format != "text" && !onTerminal {
		return slog.New(slog.NewJSONHandler(a.err, &slog.HandlerOptions{Level: level, ReplaceAttr: readable}))
	}
	return slog.New(tint.NewTextHandler(a.err, &tint.Options{
		Level: level, TimeFormat: time.TimeOnly, NoColor: !onTerminal || !a.colors(),
	}))
}

// show returns how a one-shot command lets its work be followed: by progress bars on a terminal that can redraw lines, which leave no room
// for a log; by the log elsewhere, and where a log level is asked for.
func (a *app) show(log config.Log) (watcher, *slog.Logger) {
	if width, ok := a.draws(); ok {
		return report.NewProgress(a.err, width), slog.New(slog.DiscardHandler)
	}
	return quiet{}, a.logger(log)
}

// draws tells whether a one-shot command draws its progress, and how wide the terminal is.
func (a *app) draws() (width int, ok bool) {
	width, ok = terminal(a.err)
	return width, ok && a.logLevel == "" && a.env("TERM") != "dumb"
}

// readable writes durations as people and duration parsers read them ("1.5s") instead of as nanoseconds.
func readable(_ []string, attr slog.Attr) slog.Attr {
	if attr.Value.Kind() == slog.KindDuration {
		attr.Value = slog.StringValue(attr.Value.Duration().Round(time.Millisecond).String())
	}
	return attr
}
