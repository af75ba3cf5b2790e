package main

import (
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
	return report.Style{Color: ok && a.colors(), Width: width}
}

func (a *app) colors() bool { return a.env("NO_COLOR") == "" && a.env("TERM") != "dumb" }

// logger makes the log by the config and the flags, which go before it.
func (a *app) logger(log config.Log) *slog.Logger {
	level, format := log.Level, log.Format
	if a.logLevel != "" {
		level = a.logLevel
	}
	if a.logFormat != "" {
		format = a.logFormat
	}
	var parsed slog.Level
	if level != "" {
		_ = parsed.UnmarshalText([]byte(level)) // both sources are checked
	}
	_, onTerminal := terminal(a.err)
	if format == "json" || format != "text" && !onTerminal {
		return slog.New(slog.NewJSONHandler(a.err, &slog.HandlerOptions{Level: parsed, ReplaceAttr: readable}))
	}
	return slog.New(tint.NewTextHandler(a.err, &tint.Options{
		Level: parsed, TimeFormat: time.TimeOnly, NoColor: !onTerminal || !a.colors(),
	}))
}

// show returns how a one-shot command lets its work be followed: by progress bars on a terminal, which leave no room for a
// log; by the log elsewhere, and where a log level is asked for.
func (a *app) show(log config.Log) (watcher, *slog.Logger) {
	if width, ok := terminal(a.err); ok && a.logLevel == "" {
		return report.NewProgress(a.err, width), slog.New(slog.DiscardHandler)
	}
	return quiet{}, a.logger(log)
}

// readable writes durations as people and duration parsers read them ("1.5s") instead of as nanoseconds.
func readable(_ []string, attr slog.Attr) slog.Attr {
	if attr.Value.Kind() == slog.KindDuration {
		attr.Value = slog.StringValue(attr.Value.Duration().Round(time.Millisecond).String())
	}
	return attr
}
