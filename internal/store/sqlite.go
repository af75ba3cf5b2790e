package store

import (
	"context"
	"database/sql"
	"fmt"
	"math"
)

// busyTries is how often a write is tried while other processes write; each try waits five seconds.
const busyTries = 3

// prunePages is how many pages one transaction frees.
const prunePages = 1000

// files is the dialect of the store in a directory.
type files struct{ *Store }

// sqliteWords are those of SQLite. It goes through tables that are joined crosswise in the order in which they stand.
var sqliteWords = map[string]string{
	"in texts":   "IN (SELECT value FROM json_each(?))",
	"in numbers": "IN (SELECT value FROM json_each(?))",
	"texts":      "json_each(?)",
	"join":       "CROSS JOIN",
	"unlocked":   "", // there is one writer at a time
}

func (s files) text(query string, _ []any) string {
	return expand(query, func(name string) string {
		if word, ok := sqliteWords[name]; ok {
			return word
		}
		return name
	})
}

func (s files) values(args []any) []any {
	values := make([]any, len(args))
	for i, arg := range args {
		if m, ok := arg.(moment); ok {
			values[i] = s.now() + m.milliseconds()
		} else {
			values[i] = value(arg)
		}
	}
	return values
}

func (s files) snapshot() sql.IsolationLevel { return sql.LevelDefault }

func (s files) write(ctx context.Context, list []statement, once bool) (changed int64, err error) {
	tx, err := s.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { _ = tx.Rollback() }()
	if once {
		if changed, err = s.execAll(ctx, tx, list[:1]); changed == 0 || err != nil {
			return 0, err
		}
		list = list[1:]
	}
	last, err := s.execAll(ctx, tx, list)
	if err != nil {
		return 0, err
	}
	if !once {
		changed = last
	}
	return changed, tx.Commit()
}

// execAll executes statements in order. Those in a row that differ only in their values are prepared once.
func (s files) execAll(ctx context.Context, tx *sql.Tx, list []statement) (changed int64, err error) {
	for len(list) > 0 && err == nil {
		n := 1
		for n < len(list) && list[n].sql == list[0].sql {
			n++
		}
		changed, err = s.execEqual(ctx, tx, list[:n])
		list = list[n:]
	}
	return changed, err
}

func (s files) execEqual(ctx context.Context, tx *sql.Tx, list []statement) (changed int64, err error) {
	text := s.text(list[0].sql, nil)
	exec := func(args ...any) (sql.Result, error) { return tx.ExecContext(ctx, text, args...) }
	if len(list) > 1 {
		prepared, err := tx.PrepareContext(ctx, text)
		if err != nil {
			return 0, err
		}
		defer func() { _ = prepared.Close() }()
		exec = func(args ...any) (sql.Result, error) { return prepared.ExecContext(ctx, args...) }
	}
	for _, st := range list {
		done, err := exec(s.values(st.args)...)
		if err != nil {
			return 0, err
		}
		if changed, err = done.RowsAffected(); err != nil {
			return 0, err
		}
	}
	return changed, nil
}

// begin waits for this process's turn, then for its turn among processes.
func (s *Store) begin(ctx context.Context) (tx *sql.Tx, err error) {
	for range busyTries {
		if tx, err = s.writer.BeginTx(ctx, nil); code(err) != codeBusy {
			return tx, err
		}
	}
	return nil, err
}

// size returns how many bytes the pages in use take.
func (s files) size(ctx context.Context) (size int64, err error) {
	const query = "SELECT (c.page_count - f.freelist_count) * s.page_size FROM pragma_page_count c, pragma_freelist_count f, pragma_page_size s"
	err = s.writer.QueryRowContext(ctx, query).Scan(&size)
	return size, err
}

// shrink returns free pages to the file system.
func (s files) shrink(ctx context.Context) error {
	for last := math.MaxInt; ; {
		var free int
		if err := s.writer.QueryRowContext(ctx, "PRAGMA freelist_count").Scan(&free); err != nil {
			return err
		}
		if free == 0 || free >= last {
			break
		}
		last = free
		if _, err := s.writer.ExecContext(ctx, fmt.Sprintf("PRAGMA incremental_vacuum(%d)", prunePages)); err != nil {
			return err
		}
	}
	_, err := s.writer.ExecContext(ctx, "PRAGMA wal_checkpoint(PASSIVE)") // waits for no one
	return err
}
