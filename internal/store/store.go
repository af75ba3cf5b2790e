package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	// Register the driver "sqlite".
	_ "modernc.org/sqlite"
)

const (
	fileName      = "dray.db"
	lockSuffix    = ".lock"
	usersSuffix   = ".users"
	daemonSuffix  = ".daemon"
	damagedSuffix = ".damaged"

	// readers is the number of read connections; each takes half a megabyte of pages.
	readers = 4
	// openPause and openTries limit how long Open waits for another process that opens the same store: 30 seconds.
	openPause = 10 * time.Millisecond
	openTries = 3000
)

// Options configures a Store.
type Options struct {
	// Log receives a line when a file is put aside or found damaged; nil discards it.
	Log *slog.Logger
	// Now returns the time; it is required.
	Now func() time.Time
}

// Store remembers facts in a database. It is safe for concurrent use, and several processes may use one directory. If the file proves
// damaged later, that is logged once, and from then on nothing is found and nothing is saved.
type Store struct {
	path    string
	options Options
	schema  []string
	dialect dialect

	writer *sql.DB // one connection
	queue  queue   // of the writers of this process
	reader *sql.DB
	find   finders

	leave   func() // releases the lock that says the file is in use
	damaged atomic.Bool
	ailing  atomic.Bool  // the last write failed, and that was logged
	proved  atomic.Int64 // when a check last showed that writing works
	tried   int64        // when a rewrite of the file was last tried; guarded by the writer's connection

	mu      sync.Mutex
	touched map[touch]map[string]struct{}
	pending int
}

// Open opens the store in a directory, which it creates if needed, readable by this user only. It renames a file that is damaged, or made
// by a later dray, logs a warning, and starts with an empty one; while another process uses such a file, Open returns an error instead.
// After any error, the caller can go on without a store.
func Open(ctx context.Context, dir string, options Options) (*Store, error) {
	return open(ctx, dir, options, schema())
}

func open(ctx context.Context, dir string, options Options, schema []string) (*Store, error) {
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	s := &Store{path: filepath.Join(dir, fileName), options: options, schema: schema, touched: map[touch]map[string]struct{}{}}
	s.dialect = files{s}
	if err := s.enter(ctx, dir); err != nil {
		return nil, fmt.Errorf("open the store %s: %w%s", s.path, err, placeHint(err))
	}
	return s, nil
}

// enter opens the files. It holds the store's lock meanwhile, so that no one else creates, migrates or renames the file.
func (s *Store) enter(ctx context.Context, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	unlock, err := lockOpen(ctx, s.path+lockSuffix)
	if err != nil {
		return err
	}
	defer unlock()
	err = s.start(ctx)
	if bad, ok := errors.AsType[*unfitError](err); ok {
		if err = s.putAside(ctx, bad); err == nil {
			err = s.start(ctx)
		}
	}
	if err != nil {
		return err
	}
	if s.leave, err = lockFile(s.path+usersSuffix, false); err != nil {
		return errors.Join(err, s.disconnect())
	}
	return nil
}

// lockOpen waits until no one else opens the store.
func lockOpen(ctx context.Context, path string) (unlock func(), err error) {
	pause := time.NewTicker(openPause)
	defer pause.Stop()
	for range openTries {
		if unlock, err = lockFile(path, true); !errors.Is(err, errLocked) {
			return unlock, err
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return nil, err
}

// start opens the existing database; an unfitError says that it must be put aside.
func (s *Store) start(ctx context.Context) (err error) {
	if err := s.create(); err != nil {
		return err
	}
	_, marked := os.Lstat(s.path + damagedSuffix)
	empty, err := s.inspect(ctx, marked == nil)
	if err != nil {
		return err
	}
	if err := ignoreMissing(os.Remove(s.path + damagedSuffix)); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(unfit(err), s.disconnect())
		}
	}()
	if err := s.connect(empty); err != nil {
		return err
	}
	if err := s.migrate(ctx); err != nil {
		return err
	}
	if err = s.prepare(ctx, true); code(err) == codeError {
		return damaged("its tables are not those of its version: %w", err)
	}
	return err
}

// create makes an empty file; SQLite gives its permissions to the files beside it. Such files without a database are left over from one
// that was deleted, perhaps while a process still uses them: a new database must not share them.
func (s *Store) create() error {
	if info, err := os.Stat(s.path); err == nil && !info.Mode().IsRegular() { // opening a pipe would block
		return fmt.Errorf("%s is not a regular file", s.path)
	}
	if _, err := os.Lstat(s.path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return errors.Join(ignoreMissing(os.Remove(s.path+"-wal")), ignoreMissing(os.Remove(s.path+"-shm")), writeEmpty(s.path))
}

// connect makes the connections. The way to free pages can only be set in an empty database; setting it in others would be a write at every
// start.
func (s *Store) connect(empty bool) (err error) {
	const common = "_busy_timeout=5000&_journal_mode=wal&_synchronous=normal&_foreign_keys=1" +
		"&_pragma=temp_store(memory)&_pragma=journal_size_limit(8388608)"
	own := "&_txlock=immediate&_pragma=cache_size(-1024)"
	if empty {
		own += "&_auto_vacuum=incremental"
	}
	if s.writer, err = sql.Open("sqlite", s.dsn(common+own)); err != nil {
		return err
	}
	s.writer.SetMaxOpenConns(1)
	if s.reader, err = sql.Open("sqlite", s.dsn(common+"&_query_only=1&_pragma=cache_size(-512)")); err != nil {
		return err
	}
	s.reader.SetMaxOpenConns(readers)
	s.reader.SetMaxIdleConns(readers)
	return nil
}

// dsn returns the data source name for the driver. The file's content is not trusted.
func (s *Store) dsn(parameters string) string {
	path := filepath.ToSlash(s.path)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	const wary = "&_defensive=1&_dqs=0&_error_rc=1&_pragma=trusted_schema(0)&_pragma=cell_size_check(1)"
	return (&url.URL{Scheme: "file", Path: path, RawQuery: parameters + wary}).String()
}

func (s *Store) disconnect() error {
	var errs []error
	for _, db := range []*sql.DB{s.reader, s.writer} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

// Close closes the store. It first records pending reads and lets writers end, for which it waits at most a second.
func (s *Store) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = s.flush(ctx) // this loses only times of use
	s.queue.wait(ctx)
	err := s.disconnect()
	s.leave()
	if err != nil {
		return fmt.Errorf("close the store %s: %w", s.path, err)
	}
	return nil
}

// Claim makes this process the only daemon on the store in a directory until release is called or the process ends. It fails if there is
// another daemon; other processes can still use the store.
func Claim(dir string) (release func(), err error) {
	path := filepath.Join(dir, fileName)
	if release, err = lockFile(path+daemonSuffix, true); err != nil {
		return nil, fmt.Errorf("claim the store %s: %w", path, err)
	}
	return release, nil
}

// now returns this process's time, as times are stored in the tables.
func (s *Store) now() int64 { return s.options.Now().UnixMilli() }
