package store

import (
	"context"
	"crypto/tls"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

const (
	// ledgerConns limits the connections of one process; ledgerTries is how often a write is sent that the database has refused in favor of
	// another (https://www.postgresql.org/docs/15/mvcc-serialization-failure-handling.html).
	ledgerConns = 8
	ledgerTries = 5
	// patience limits how long the server may be silent when an answer is due, and connectPatience how long connecting takes to one host,
	// unless the URL has connect_timeout.
	patience        = 30 * time.Second
	connectPatience = 10 * time.Second
	// connIdle limits how long an unused connection is kept, since firewalls forget them, and connLasts how long one is used, so that all
	// come to the server that a name stands for.
	connIdle  = 5 * time.Minute
	connLasts = 30 * time.Minute
	// writesLast is how long is known which writes were executed.
	writesLast = time.Hour
	// oldestPostgres is the oldest version that works, as in the parameter server_version_num.
	oldestPostgres = 130000
)

// SQLSTATE codes (https://www.postgresql.org/docs/15/errcodes-appendix.html).
const (
	stateNoPrivilege   = "42501"
	stateNull          = "23502"
	stateSerialization = "40001"
	stateDeadlock      = "40P01"
	stateLockTimeout   = "55P03"
)

// Ledger is a store in a PostgreSQL database, which several processes on several machines share.
type Ledger struct{ *Store }

// Join opens the store in a PostgreSQL database, and makes its tables in the schema dray if needed. Without sslmode in the URL the server
// must prove its name by TLS, unless it is on this machine. It works through PgBouncer in transaction mode too.
func Join(ctx context.Context, ledger string, options Options) (*Ledger, error) {
	return join(ctx, ledger, options, patience)
}

func join(ctx context.Context, ledger string, options Options, patience time.Duration) (*Ledger, error) {
	s, err := connect(ctx, ledger, options, patience, (*Store).createTables)
	if err != nil {
		return nil, err
	}
	return &Ledger{s}, s.prepare(ctx, false)
}

// Found is what [Check] finds where a ledger can be used.
type Found struct {
	// Address is the host and the database, Server the version of PostgreSQL, and User as whom dray signs in.
	Address, Server, User string
	// TLS is the version of TLS, empty for a connection without.
	TLS string
	// Schema is the version of the tables; zero where the first dray that joins makes them. Newest is the version that this dray makes.
	Schema, Newest int
	// RoundTrip is how long a request takes.
	RoundTrip time.Duration
}

// Check reports whether [Join] would succeed, and what it would find. It writes nothing.
func Check(ctx context.Context, ledger string) (found Found, err error) {
	s, err := connect(ctx, ledger, Options{}, patience, func(s *Store, ctx context.Context) error {
		if err := s.mayCreateTables(ctx); err != nil {
			return err
		}
		found, err = s.found(ctx)
		return err
	})
	if err != nil {
		return Found{}, err
	}
	return found, s.reader.Close()
}

// found describes the ledger, whose tables can be used.
func (s *Store) found(ctx context.Context) (f Found, err error) {
	f.Address, f.Newest = s.path, len(ledgerSchema)
	if f.Schema, _, err = s.tables(ctx); err != nil {
		return f, err
	}
	conn, err := s.reader.Conn(ctx)
	if err != nil {
		return f, err
	}
	defer func() { _ = conn.Close() }()
	err = conn.Raw(func(driver any) error {
		if secure, ok := driver.(*stdlib.Conn).Conn().PgConn().Conn().(*tls.Conn); ok {
			f.TLS = tls.VersionName(secure.ConnectionState().Version)
		}
		return nil
	})
	if err != nil {
		return f, err
	}
	began := boottime()
	err = conn.QueryRowContext(ctx, "SELECT current_setting('server_version'), current_user").Scan(&f.Server, &f.User)
	f.RoundTrip = boottime() - began
	return f, err
}

// connect opens the connections to a ledger, and uses them.
func connect(ctx context.Context, ledger string, options Options, patience time.Duration, use func(*Store, context.Context) error) (*Store, error) {
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	config, err := ledgerConfig(ledger, patience)
	if err != nil {
		return nil, fmt.Errorf("join the ledger: %w", err)
	}
	name := fmt.Sprintf("%s/%s", config.Host, config.Database)
	var differs error // a setting that the server has otherwise than dray needs it
	for {
		db := stdlib.OpenDB(*config)
		db.SetMaxOpenConns(ledgerConns)
		db.SetMaxIdleConns(ledgerConns)
		db.SetConnMaxIdleTime(connIdle)
		db.SetConnMaxLifetime(connLasts)
		s := &Store{options: options, writer: db, reader: db, dialect: &postgres{db}, path: name, touched: map[touch]map[string]struct{}{}, leave: func() {}}
		err := use(s, ctx)
		if err == nil {
			return s, nil
		}
		closed := db.Close()
		e, ok := errors.AsType[*settingError](err)
		err = wayOut(err, config)
		if ok && config.RuntimeParams[e.name] == "" {
			config.RuntimeParams[e.name], differs = e.want, err
			continue
		}
		if differs != nil && !ok {
			err = fmt.Errorf("%w; asked for that, it says: %w", differs, err)
		}
		return nil, errors.Join(fmt.Errorf("join the ledger %s: %w", name, err), closed)
	}
}

// settingError says that a connection has a setting that dray cannot work with.
type settingError struct{ name, is, want string }

func (e *settingError) Error() string {
	return fmt.Sprintf("its setting %s is %q, and dray needs %q", e.name, e.is, e.want)
}

// ledgerConfig reads a URL. Its errors do not contain the password.
func ledgerConfig(ledger string, patience time.Duration) (*pgx.ConnConfig, error) {
	u, err := url.Parse(ledger)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return nil, errors.New("its URL must be postgres://USER@HOST/DATABASE, or with several hosts postgres://USER@/DATABASE?host=HOST,HOST&port=PORT,PORT")
	}
	query := u.Query()
	if !query.Has("sslmode") && os.Getenv("PGSSLMODE") == "" {
		mode := "verify-full"
		if onThisMachine(strings.Split(strings.Join(append(query["host"], u.Host), ","), ",")) {
			mode = "prefer"
		}
		query.Set("sslmode", mode)
		u.RawQuery = query.Encode()
	}
	config, err := pgx.ParseConfig(u.String())
	if err != nil {
		return nil, err
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectPatience
	}
	dial := config.DialFunc
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &impatient{Conn: conn, patience: patience}, nil
	}
	// A pooler may hand each transaction to another connection: nothing is prepared.
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	config.StatementCacheCapacity, config.DescriptionCacheCapacity = 0, 0
	return config, nil
}

// onThisMachine reports whether all of the hosts are loopback addresses or directories of sockets.
func onThisMachine(hosts []string) bool {
	for _, host := range hosts {
		name := (&url.URL{Host: host}).Hostname()
		address, err := netip.ParseAddr(name)
		if host != "" && name != "localhost" && !strings.HasPrefix(host, "/") && (err != nil || !address.IsLoopback()) {
			return false
		}
	}
	return true
}

// wayOut adds to an error what its reader can do.
func wayOut(err error, config *pgx.ConnConfig) error {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && e.Code == stateNoPrivilege || errors.Is(err, errNoRight) {
		return fmt.Errorf("%w; an administrator can run: CREATE SCHEMA dray AUTHORIZATION %s", err, pgx.Identifier{config.User}.Sanitize())
	}
	if e, ok := errors.AsType[*settingError](err); ok {
		return fmt.Errorf("%w; an administrator can run: ALTER ROLE %s IN DATABASE %s SET %s = '%s'", err,
			pgx.Identifier{config.User}.Sanitize(), pgx.Identifier{config.Database}.Sanitize(), e.name, e.want)
	}
	if strings.Contains(err.Error(), "refused TLS") {
		return fmt.Errorf("%w; let the server offer TLS, or say sslmode=disable in the URL if the network is to be trusted", err)
	}
	return err
}

// tables reports which version of the tables there is, zero for none, and whether their schema is there. It fails for one that this dray cannot use.
func (s *Store) tables(ctx context.Context) (version int, schema bool, err error) {
	var number, readable int
	var encoding string
	isolation, bytes := &settingError{name: "default_transaction_isolation", want: "read committed"}, &settingError{name: "bytea_output", want: "hex"}
	const settings = "SELECT current_setting('server_version_num')::int, current_setting('server_encoding'), " +
		"current_setting('default_transaction_isolation'), current_setting('bytea_output')"
	if err := s.reader.QueryRowContext(ctx, settings).Scan(&number, &encoding, &isolation.is, &bytes.is); err != nil {
		return 0, false, err
	}
	if encoding != "UTF8" {
		return 0, false, fmt.Errorf("its encoding is %s, and dray needs UTF8: make another database for dray, with ENCODING 'UTF8' TEMPLATE template0", encoding)
	}
	for _, e := range []*settingError{isolation, bytes} {
		if e.is != e.want {
			return 0, false, e
		}
	}
	if number < oldestPostgres {
		return 0, false, fmt.Errorf("it is PostgreSQL %d, and dray needs %d or later", number/10000, oldestPostgres/10000)
	}
	var meta bool
	if err := s.reader.QueryRowContext(ctx, "SELECT to_regnamespace('dray') IS NOT NULL, to_regclass('dray.meta') IS NOT NULL").Scan(&schema, &meta); err != nil {
		return 0, false, err
	}
	if meta {
		if err := s.reader.QueryRowContext(ctx, "SELECT version, readable_from FROM dray.meta").Scan(&version, &readable); err != nil {
			return 0, false, err
		}
	}
	if readable > len(ledgerSchema) {
		return 0, false, fmt.Errorf("it has version %d, which this dray cannot use: use a later one", version)
	}
	return version, schema, nil
}

// mayCreateTables reports whether createTables would succeed, as far as that can be seen.
func (s *Store) mayCreateTables(ctx context.Context) error {
	version, schema, err := s.tables(ctx)
	if err != nil || version >= len(ledgerSchema) {
		return err
	}
	may, query, refused := false, "SELECT has_database_privilege(current_database(), 'CREATE')", errNoRight
	switch {
	case version > 0: // its tables are altered
		query, refused = "SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = to_regclass('dray.meta')", errNotOwner
	case schema:
		query = "SELECT has_schema_privilege('dray', 'CREATE')"
	}
	if err := s.reader.QueryRowContext(ctx, query).Scan(&may); err != nil || may {
		return err
	}
	return refused
}

var (
	errNoRight  = errors.New("the user has no right to make tables in the schema dray")
	errNotOwner = errors.New("an earlier dray has made the tables in the schema dray, and the user does not own them, so it cannot change them")
)

// createTables makes the tables, or brings them to the newest version, all or nothing. Processes that do so at once take turns.
func (s *Store) createTables(ctx context.Context) error {
	version, schema, err := s.tables(ctx)
	if err != nil || version >= len(ledgerSchema) {
		return err
	}
	// A number of its own for the lock that lasts until the list is done.
	list := []statement{do("SELECT pg_advisory_xact_lock(" + strconv.Itoa(applicationID) + ")")}
	if !schema {
		list = append(list, do("CREATE SCHEMA IF NOT EXISTS dray"))
	}
	list = append(list, do(ledgerMeta))
	for i, step := range ledgerSchema { // who was overtaken does nothing: others may be using the tables already
		list = append(list, do(fmt.Sprintf("DO $step$ BEGIN IF coalesce((SELECT version FROM dray.meta), 0) < %d THEN %s END IF; END $step$", i+1, step)))
	}
	list = append(list, do("INSERT INTO dray.meta (id, version, readable_from) VALUES (1, ?, 1) "+
		"ON CONFLICT (id) DO UPDATE SET version = greatest(meta.version, excluded.version)", len(ledgerSchema)))
	_, err = s.dialect.write(ctx, list, false)
	return err
}

// postgres is the dialect of PostgreSQL.
type postgres struct{ db *sql.DB }

// postgresWords are those of PostgreSQL.
var postgresWords = map[string]string{
	"in texts":   "= ANY(ARRAY(SELECT jsonb_array_elements_text(?::text::jsonb)))",
	"in numbers": "= ANY(ARRAY(SELECT jsonb_array_elements_text(?::text::jsonb)::bigint))",
	"texts":      "jsonb_array_elements_text(?::text::jsonb) AS value",
	"join":       "JOIN",
	"unlocked":   "FOR UPDATE SKIP LOCKED",
}

// text writes tables with their schema, parameters with their numbers, and moments by the clock of the server.
func (p *postgres) text(query string, args []any) string {
	query = expand(query, func(name string) string {
		if word, ok := postgresWords[name]; ok {
			return word
		}
		return "dray." + name
	})
	var b strings.Builder
	for n := 1; ; n++ {
		before, after, more := strings.Cut(query, "?")
		b.WriteString(before)
		if !more {
			return b.String()
		}
		parameter := "$" + strconv.Itoa(n)
		if n <= len(args) {
			if _, ok := args[n-1].(moment); ok {
				parameter = "(dray.now() + " + parameter + ")"
			}
		}
		b.WriteString(parameter)
		query = after
	}
}

func (p *postgres) values(args []any) []any {
	values := make([]any, len(args))
	for i, arg := range args {
		if m, ok := arg.(moment); ok {
			values[i] = m.milliseconds()
		} else {
			values[i] = value(arg)
		}
	}
	return values
}

// write sends all statements at once. What is sent at once is one transaction
// (https://www.postgresql.org/docs/15/protocol-flow.html#PROTOCOL-FLOW-PIPELINING).
func (p *postgres) write(ctx context.Context, list []statement, once bool) (changed int64, err error) {
	for range ledgerTries {
		sent, token := list, rand.Int64()
		if once {
			sent = marked(list, token)
		}
		changed, err = p.send(ctx, sent, once)
		if e, ok := errors.AsType[*pgconn.PgError](err); ok && once && e.Code == stateNull && e.TableName == "writes" {
			return 0, nil // the first statement has changed nothing
		}
		if isLost(err) && once {
			written, unknown := p.written(ctx, token)
			if unknown != nil {
				return 0, fmt.Errorf("%w; it is not known whether it was written: %w", err, unknown)
			}
			if written {
				return 1, nil
			}
		} else if !isLost(err) && !isOvertaken(err) {
			return changed, err
		}
	}
	return 0, err
}

// marked has the first statement also write a token, if it changes rows. So the token says whether the list was executed. If there is more in
// the list, it fails where the first statement has changed nothing.
func marked(list []statement, token int64) []statement {
	first := list[0]
	mark := "SELECT ?, ?, true FROM done LIMIT 1"
	if len(list) > 1 {
		mark = "SELECT ?, ?, (SELECT true FROM done LIMIT 1)"
	}
	first.sql = "WITH done AS (" + first.sql + " RETURNING 1) INSERT INTO {writes} (token, at, written) " + mark
	first.args = append(slices.Clone(first.args), token, now)
	return append([]statement{first}, list[1:]...)
}

// written reports whether statements with a token were executed. If not, they never will be, since the token is then taken.
func (p *postgres) written(ctx context.Context, token int64) (written bool, err error) {
	const query = "INSERT INTO {writes} (token, at, written) VALUES (?, ?, false) ON CONFLICT (token) DO UPDATE SET at = writes.at RETURNING written"
	for range ledgerTries {
		if err = (finder{dialect: p, query: query, db: p.db}).QueryRowContext(ctx, token, now).Scan(&written); err == nil {
			break
		}
	}
	return written, err
}

func (p *postgres) send(ctx context.Context, list []statement, first bool) (changed int64, err error) {
	conn, err := p.db.Conn(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	var batch pgx.Batch
	for i, st := range list {
		batch.Queue(p.text(st.sql, st.args), p.values(st.args)...).Exec(func(tag pgconn.CommandTag) error {
			if i == 0 || !first {
				changed = tag.RowsAffected()
			}
			return nil
		})
	}
	err = conn.Raw(func(driver any) error {
		if err := driver.(*stdlib.Conn).Conn().SendBatch(ctx, &batch).Close(); err != nil {
			return &sendError{err}
		}
		return nil
	})
	return changed, err
}

// sendError is what came instead of an answer to statements that may have been sent.
type sendError struct{ error }

func (e *sendError) Unwrap() error { return e.error }

// isLost reports whether a connection was lost, so that nobody knows what was executed.
func isLost(err error) bool {
	if _, ok := errors.AsType[*sendError](err); !ok {
		return false
	}
	e, answered := errors.AsType[*pgconn.PgError](err)
	return !answered || e.Severity == "FATAL"
}

// isOvertaken reports whether the server has undone statements in favor of others.
func isOvertaken(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (e.Code == stateSerialization || e.Code == stateDeadlock || e.Code == stateLockTimeout)
}

func (p *postgres) snapshot() sql.IsolationLevel { return sql.LevelRepeatableRead }

// size returns about how many bytes the rows take. Space that deleted rows leave is the database's to use again.
func (p *postgres) size(ctx context.Context) (size int64, err error) {
	const rows = "SELECT coalesce((SELECT sum(octet_length(raw) + 200) FROM dray.manifests), 0) + 200 * ((SELECT count(*) FROM dray.blobs) + " +
		"(SELECT count(*) FROM dray.referrers) + (SELECT count(*) FROM dray.selections)) + coalesce((SELECT sum(size) FROM dray.runs), 0)"
	var bytes float64
	err = p.db.QueryRowContext(ctx, rows).Scan(&bytes)
	return int64(math.Ceil(bytes)), err
}

// shrink leaves the space of rows to the database, and forgets old writes, and parts of runs that nobody has resumed.
func (p *postgres) shrink(ctx context.Context) error {
	_, err := p.write(ctx, []statement{
		do("DELETE FROM {writes} WHERE at < ?", moment(-writesLast)),
		do("DELETE FROM {parts} WHERE member IS NULL AND put < ? AND NOT EXISTS (SELECT 1 FROM {jobs} WHERE name = parts.job AND member IS NOT NULL)", moment(-writesLast)),
	}, false)
	return err
}
