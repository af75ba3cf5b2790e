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
	return s.queue.write(&entry{ctx: ctx, list: list, once: once, done: make(chan struct{})}, s.writeAll)
}

// writeAll writes what several writers wait for: in one transaction, or, if that fails, in one for each, so that none has the fault of another.
func (s files) writeAll(all []*entry) {
	if len(all) > 1 && s.together(all) {
		return
	}
	for _, e := range all {
		var changed int64
		err := s.transaction(e.ctx, func(tx *sql.Tx) (err error) {
			changed, err = s.execOnce(e.ctx, tx, e.list, e.once)
			return err
		})
		if err != nil {
			changed = 0
		}
		e.end(changed, err)
	}
}

// together reports whether one transaction has written all.
func (s files) together(all []*entry) bool {
	changed := make([]int64, len(all))
	ctx := context.WithoutCancel(all[0].ctx) // what others wait for does not end with one of them
	err := s.transaction(ctx, func(tx *sql.Tx) (err error) {
		for i, e := range all {
			if changed[i], err = s.execOnce(ctx, tx, e.list, e.once); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return false
	}
	for i, e := range all {
		e.end(changed[i], nil)
	}
	return true
}

func (s files) transaction(ctx context.Context, do func(*sql.Tx) error) error {
	tx, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if err := do(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// execOnce executes a list. With once it executes nothing more if the first statement changes no row, and returns how many that has changed.
func (s files) execOnce(ctx context.Context, tx *sql.Tx, list []statement, once bool) (changed int64, err error) {
	if !once {
		return s.execAll(ctx, tx, list)
	}
	if changed, err = s.execAll(ctx, tx, list[:1]); changed == 0 || err != nil {
		return 0, err
	}
	_, err = s.execAll(ctx, tx, list[1:])
	return changed, err
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
