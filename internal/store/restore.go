package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// retryRestore is the pause after a failed attempt to rewrite a removed file, in milliseconds.
const retryRestore = 1000

// dropPatience is how long to wait for connections in use.
const dropPatience = 10 * time.Second

// removed reports whether someone has removed the file. This process can go on with its open file, but loses everything when it ends.
func (s *Store) removed() bool {
	if _, file := s.dialect.(files); !file {
		return false
	}
	_, err := os.Lstat(s.path)
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// restore rewrites a removed file with the content of the one that this process still has open, and switches to the new one.
func (s *Store) restore(ctx context.Context) error {
	if !s.removed() {
		return nil
	}
	own, err := s.writer.Conn(ctx) // keeps other writers of this process waiting
	if err != nil {
		return err
	}
	defer func() { _ = own.Close() }()
	if !s.removed() {
		return nil // the previous holder of the connection has done it
	}
	gone := fmt.Errorf("%s was removed", s.path)
	if age := s.now() - s.tried; 0 <= age && age < retryRestore {
		return gone
	}
	s.tried = s.now()
	if err := s.copyTo(ctx, own); err != nil {
		return errors.Join(gone, fmt.Errorf("write it anew: %w", err))
	}
	drop(own)
	// The new file is the store now: no reader may stay with the old one because the caller is cancelled.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropPatience)
	defer cancel()
	for range readers { // connections in use are dropped when they are free
		c, err := s.reader.Conn(ctx)
		if err != nil {
			return err
		}
		defer drop(c)
	}
	s.options.Log.LogAttrs(ctx, slog.LevelWarn, "the store was removed while it was used; all that was in it is written anew", slog.String("target", s.path))
	return nil
}

// copyTo replaces the file by a copy of the database that a connection has open. Processes that open the store meanwhile wait.
func (s *Store) copyTo(ctx context.Context, own *sql.Conn) error {
	if err := os.MkdirAll(filepath.Dir(s.path), 0o700); err != nil {
		return err
	}
	unlock, err := lockOpen(ctx, s.path+lockSuffix)
	if err != nil {
		return err
	}
	defer unlock()
	if !s.removed() { // another process has made one, which is the store now
		return nil
	}
	part := s.path + ".part"
	if err := errors.Join(ignoreMissing(os.Remove(part)), writeEmpty(part)); err != nil { // SQLite accepts an empty file, with its permissions
		return err
	}
	if _, err := own.ExecContext(ctx, "VACUUM INTO ?", part); err != nil {
		return errors.Join(err, ignoreMissing(os.Remove(part)))
	}
	// The remains of the removed file must not be taken for this one's.
	if err := errors.Join(ignoreMissing(os.Remove(s.path+"-wal")), ignoreMissing(os.Remove(s.path+"-shm"))); err != nil {
		return err
	}
	return os.Rename(part, s.path)
}

// drop closes a connection for good; its pool opens another when needed.
func drop(c *sql.Conn) {
	_ = c.Raw(func(any) error { return driver.ErrBadConn })
	_ = c.Close()
}
