package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
)

// asideTime is the time format in file names: ISO 8601's basic format, in UTC.
const asideTime = "20060102T150405Z"

// putAside renames the database and the files that belong to it, so that it can still be examined. It fails while anyone uses the file: a
// process whose database is renamed might write into the next one.
func (s *Store) putAside(ctx context.Context, why *unfitError) error {
	unlock, err := lockFile(s.path+usersSuffix, true)
	if errors.Is(err, errLocked) {
		return fmt.Errorf("%w; another process uses it, so it stays: stop that one first", why)
	}
	if err != nil {
		return err
	}
	defer unlock()
	aside, err := s.asideName(why.newer)
	if err != nil {
		return err
	}
	for _, suffix := range []string{"-wal", "-shm", ""} { // the database last: while it is there, nothing is lost
		if err := ignoreMissing(os.Rename(s.path+suffix, aside+suffix)); err != nil {
			return fmt.Errorf("put aside what cannot be used (%w): %w", why, err)
		}
	}
	if err := ignoreMissing(os.Remove(s.path + damagedSuffix)); err != nil {
		return err
	}
	reason := slog.String("reason", "kept as "+aside)
	if why.newer > 0 {
		s.options.Log.LogAttrs(ctx, slog.LevelWarn, "the store was made by a later dray and is put aside; starting with an empty one", reason, slog.Any("err", why.cause))
	} else {
		s.options.Log.LogAttrs(ctx, slog.LevelWarn, "the store was damaged and is put aside; starting with an empty one", reason, slog.Any("err", why.cause))
	}
	return nil
}

// asideName returns an unused name.
func (s *Store) asideName(newer int) (string, error) {
	name := s.path + ".corrupt-"
	if newer > 0 {
		name = fmt.Sprintf("%s.newer-%d-", s.path, newer)
	}
	name += s.options.Now().UTC().Format(asideTime)
	for i, free := 2, name; ; i++ {
		if _, err := os.Lstat(free); errors.Is(err, fs.ErrNotExist) {
			return free, nil
		} else if err != nil {
			return "", err
		}
		free = fmt.Sprintf("%s-%d", name, i)
	}
}
