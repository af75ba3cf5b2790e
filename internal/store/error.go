package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"syscall"

	"modernc.org/sqlite"
)

// Primary result codes (https://www.sqlite.org/rescode.html).
const (
	codeError      = 1 // the SQL does not fit the schema
	codePermission = 3
	codeBusy       = 5
	codeReadOnly   = 8
	codeCorrupt    = 11
	codeFull       = 13
	codeCannotOpen = 14
	codeNotADB     = 26
)

// unfitError says why a database file cannot be used, however often one tries.
type unfitError struct {
	// newer is the version of a schema that only a later dray knows; 0 if the file is damaged.
	newer int
	cause error
}

func (e *unfitError) Error() string { return e.cause.Error() }
func (e *unfitError) Unwrap() error { return e.cause }

func damaged(format string, args ...any) error {
	return &unfitError{cause: fmt.Errorf(format, args...)}
}

// code returns SQLite's primary result code, 0 for any other error.
func code(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code() & 0xff
	}
	return 0
}

// placeHint says what to do about a directory that a store cannot be opened in; empty if that is not known.
func placeHint(err error) string {
	is := func(target error) bool { return errors.Is(err, target) }
	switch {
	case is(fs.ErrPermission), code(err) == codePermission, code(err) == codeCannotOpen:
		return fmt.Sprintf("; let the user with the ID %d write there, or set stateDir to another directory", os.Geteuid())
	case is(syscall.EROFS), code(err) == codeReadOnly:
		return "; it has to be on a file system that can be written: set stateDir to another directory"
	case is(syscall.ENOSPC), is(syscall.EDQUOT), code(err) == codeFull:
		return "; free some space there, or set stateDir to another directory"
	case is(syscall.ENOTDIR), is(syscall.EISDIR), is(fs.ErrExist):
		return "; set stateDir to a directory"
	}
	return ""
}

func isDamage(err error) bool { return code(err) == codeCorrupt || code(err) == codeNotADB }

// failed wraps the error of an operation. It logs the first of several, so that callers need not. Damage to the file is not an error of the
// operation: from then on this Store finds and saves nothing, and the next Open checks the file and puts it aside.
func (s *Store) failed(ctx context.Context, what string, err error) error {
	if err == nil {
		return nil
	}
	if !isDamage(err) {
		if ctx.Err() == nil && s.ailing.CompareAndSwap(false, true) {
			s.options.Log.LogAttrs(ctx, slog.LevelWarn, "the store cannot be used; going on without it until it can", slog.Any("err", fmt.Errorf("%s: %s: %w", s.path, what, err)))
		}
		return fmt.Errorf("store: %s: %w", what, err)
	}
	if s.damaged.CompareAndSwap(false, true) {
		marked := ignoreExisting(writeEmpty(s.path + damagedSuffix))
		s.options.Log.LogAttrs(ctx, slog.LevelWarn, "the store is damaged; going on without it, the next start makes a new one",
			slog.Any("err", errors.Join(fmt.Errorf("%s: %s: %w", s.path, what, err), marked)))
	}
	return nil
}

// writeEmpty makes an empty file that only this user may read.
func writeEmpty(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

func ignoreExisting(err error) error {
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
