package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"reflect"
	"strings"
	"time"
)

// dialect is what differs between databases.
//
// Statements are written once, in the SQL that the databases share. In braces stands what they write differently: the name of a table, or
//
//	{in texts}, {in numbers}  is one of a JSON array, which is a parameter
//	{texts}                   a table of a JSON array of texts, which is a parameter; its column is value
//	{join}                    JOIN, for SQLite in the order in which the tables stand
//	{unlocked}                at the end of a SELECT: only rows that no other transaction is writing
type dialect interface {
	// text returns a statement in the words of the database, and values its parameters.
	text(query string, args []any) string
	values(args []any) []any
	// write executes statements in one transaction, and returns how many rows the last has changed. If the connection is lost before
	// the answer is there, it sends them again, unless once is set: then it finds out whether they were executed. If it cannot, the error
	// says so. With once nothing is executed unless the first statement changes rows, whose number is returned.
	write(ctx context.Context, list []statement, once bool) (changed int64, err error)
	// snapshot is the isolation level at which a transaction reads what was committed when it began.
	snapshot() sql.IsolationLevel
	// size returns how many bytes the content takes.
	size(ctx context.Context) (int64, error)
	// shrink returns free space to the file system.
	shrink(ctx context.Context) error
}

// moment is a parameter: a time as far from now by the clock of the database. Processes that share a database share that clock.
type moment time.Duration

// now is the present moment.
const now moment = 0

// milliseconds returns the distance as times are stored in the tables.
func (m moment) milliseconds() int64 { return time.Duration(m).Milliseconds() }

// expand puts the words of a database in the place of what stands in braces.
func expand(query string, word func(string) string) string {
	var b strings.Builder
	for {
		before, rest, more := strings.Cut(query, "{")
		b.WriteString(before)
		if !more {
			return b.String()
		}
		var name string
		name, query, _ = strings.Cut(rest, "}")
		b.WriteString(word(name))
	}
}

// value returns a parameter as databases take it: texts without bytes that are not UTF-8, and without zero bytes. PostgreSQL refuses
// both, and they come from registries: what is kept with them must not be lost.
func value(arg any) any {
	v := reflect.ValueOf(arg)
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	switch {
	case v.Kind() == reflect.String:
		return clean(v.String())
	case v.CanInt(): // whatever its type: PostgreSQL infers its own from it
		return v.Int()
	case v.IsValid():
		return v.Interface()
	}
	return nil
}

// clean replaces what is not text.
func clean(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\ufffd"), "\x00", "\ufffd")
}

// array encodes a parameter of {in texts}, {in numbers} or {texts}.
func array[V any](list []V) string {
	values := make([]any, len(list))
	for i, v := range list {
		values[i] = value(v)
	}
	text, _ := json.Marshal(values) // texts and numbers cannot fail
	return string(text)
}

// querier is a database or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// finder is a statement that reads, prepared where the database has it so.
type finder struct {
	dialect  dialect
	query    string
	db       querier
	prepared *sql.Stmt
}

func (f finder) QueryContext(ctx context.Context, args ...any) (*sql.Rows, error) {
	if f.prepared != nil {
		return f.prepared.QueryContext(ctx, f.dialect.values(args)...)
	}
	return f.db.QueryContext(ctx, f.dialect.text(f.query, args), f.dialect.values(args)...)
}

func (f finder) QueryRowContext(ctx context.Context, args ...any) *sql.Row {
	if f.prepared != nil {
		return f.prepared.QueryRowContext(ctx, f.dialect.values(args)...)
	}
	return f.db.QueryRowContext(ctx, f.dialect.text(f.query, args), f.dialect.values(args)...)
}

// in returns the finder in a transaction.
func (f finder) in(ctx context.Context, tx *sql.Tx) finder {
	f.db = tx
	if f.prepared != nil {
		f.prepared = tx.StmtContext(ctx, f.prepared)
	}
	return f
}

// query and queryRow read by a statement that is not prepared.
func (s *Store) query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return finder{dialect: s.dialect, query: query, db: s.reader}.QueryContext(ctx, args...)
}

func (s *Store) queryRow(ctx context.Context, query string, args ...any) *sql.Row {
	return finder{dialect: s.dialect, query: query, db: s.reader}.QueryRowContext(ctx, args...)
}
