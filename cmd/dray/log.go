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

// terminal returns the width of the terminal w; false if w is not a terminal.
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

// style returns the layout of answers: with colours only on a terminal, and not if NO_COLOR is set (no-color.org).
func (a *app) style() report.Style {
	width, ok := terminal(a.out)
	return report.Style{Color: ok && a.colors(), Width: width, Verbose: a.verbose, Config: a.configOption()}
}

func (a *app) colors() bool { return a.env("NO_COLOR") == "" && a.env("TERM") != "dumb" }

// logger returns the logger for the config and the flags; flags take precedence.
func (a *app) logger(log config.Log) *slog.Logger { return a.loggerAt(log, a.level(log)) }

// level is the least important level to log.
func (a *app) level(log config.Log) slog.Level {
	var level slog.Level
	if text := cmp.Or(a.logLevel, log.Level); text != "" {
		_ = level.UnmarshalText([]byte(text)) // both sources are checked
	}
	return level
}

// loggerAt is like logger, with a variable level.
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

// show returns how a one-shot command shows its progress: by progress bars, without a log, on a terminal that can redraw lines; otherwise,
// or if a log level is set by flag, by the log.
func (a *app) show(log config.Log) (watcher, *slog.Logger) {
	if width, ok := a.draws(); ok {
		return report.NewProgress(a.err, width), slog.New(slog.DiscardHandler)
	}
	return quiet{}, a.logger(log)
}

// draws reports whether a one-shot command draws progress bars, and the width of the terminal.
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
