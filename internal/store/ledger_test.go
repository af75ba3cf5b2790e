package store

import (
	"context"
	"crypto/tls"
	"database/sql"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/postgrestest"
	"github.com/draysync/dray/internal/record"
)

func TestLedgerConfig(t *testing.T) {
	t.Setenv("PGSSLMODE", "")
	for ledger, verified := range map[string]bool{
		"postgres://dray@db.corp.example/dray":                 true,
		"postgres://dray@db.corp.example/dray?sslmode=disable": false,
		"postgres://dray@localhost:5432/dray":                  false,
		"postgres://dray@127.0.0.1/dray":                       false,
		"postgres://dray@[::1]:5432/dray":                      false,
		"postgres://dray@/dray?host=/run/postgresql":           false,
		"postgres://dray@/dray?host=localhost,db.corp.example": true,
		"postgres://dray@/dray?host=localhost,127.0.0.1":       false,
		"postgres://dray@/dray?host=db.corp.example":           true,
		"postgresql://dray:x@db.corp.example:6432/dray?x_y=z":  true,
		"postgres://dray@127.0.0.1.corp.example/dray":          true,
		"postgres://dray@localhost/dray?sslmode=verify-full":   true,
		"postgres://dray@localhost/dray?host=db.corp.example":  true,
	} {
		config, err := ledgerConfig(ledger, patience)
		if err != nil {
			t.Error(ledger, err)
			continue
		}
		if got := config.TLSConfig != nil && !config.TLSConfig.InsecureSkipVerify && allVerified(config.Fallbacks); got != verified {
			t.Errorf("%s: verified %v, fallbacks %d", ledger, got, len(config.Fallbacks))
		}
	}
	for _, ledger := range []string{"", "dray.db", "mysql://u:secret@h/d", "postgres://u:secret@h:x/d", "postgres://u:secret@h/d?sslmode=some", "host=h user=u password=secret"} {
		if _, err := ledgerConfig(ledger, patience); err == nil || strings.Contains(err.Error(), "secret") {
			t.Error(ledger, err)
		}
	}
}

// TestJoinTogether has several processes join an empty database at once, and write to and drop the same rows in any order: none waits for one
// that waits for it.
func TestJoinTogether(t *testing.T) {
	d := newStand(t)
	d.ledger = postgrestest.Database(t)
	ctx := t.Context()
	var g errgroup.Group
	for n := range 4 {
		g.Go(func() error {
			s, err := Join(ctx, d.ledger, d.options())
			if err != nil {
				return err
			}
			defer s.Close()
			for i := range 20 {
				run, state := quietRun(d, fmt.Sprint(i%3), 1)
				if err := s.KeepRun(ctx, run, state); err != nil {
					return err
				}
				if err := s.AddBlobs(ctx, repo(fmt.Sprint((i*n)%5)), digests(0, 50), n == 0); err != nil {
					return err
				}
				if err := s.KeepJobs(ctx, anchoredFew(d)); err != nil {
					return err
				}
				if err := s.Forget(ctx, repo(fmt.Sprint(i%5)), digests(10, 30)...); err != nil {
					return err
				}
				if err := churn(ctx, s.Store, n); err != nil {
					return err
				}
			}
			return nil
		})
	}
	must(t, g.Wait())
	s := d.open(t)
	repeats := 0
	runs := history(t, s, HistoryQuery{})
	for _, run := range runs {
		repeats += run.Repeats + 1
	}
	var deadlocks int
	must(t, s.queryRow(ctx, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").Scan(&deadlocks))
	if len(runs) != 3 || repeats != 80 || deadlocks > 0 {
		t.Errorf("%d runs stand for %d, not 3 for 80; %d deadlocks", len(runs), repeats, deadlocks)
	}
}

// churn reads and writes the same manifests and jobs as others do, in an order of its own, and drops some.
func churn(ctx context.Context, s *Store, n int) error {
	for m := range 10 {
		for i := range 11 {
			s.touch(touch{table: "manifests"}, string(manifest(i, 10).Digest), false)
		}
		if err := s.PutManifest(ctx, manifest((m*(n+1))%11, 10)); err != nil {
			return err
		}
	}
	if _, err := s.transact(ctx, do("UPDATE {jobs} SET seen = ? WHERE name = ?", 2*dayAgo, fmt.Sprint(n))); err != nil {
		return err
	}
	return errors.Join(s.TouchJobs(ctx, []string{"2", "1", "0", "3"}), s.Prune(ctx, s.options.Now(), 0))
}

func TestJoinRefused(t *testing.T) {
	d := newStand(t)
	d.ledger = postgrestest.Database(t)
	db, err := sql.Open("pgx", d.ledger)
	must(t, err)
	t.Cleanup(func() { db.Close() })
	user := fmt.Sprint("poor", os.Getpid())
	_, err = db.ExecContext(t.Context(), "CREATE ROLE "+user+" LOGIN")
	must(t, err)
	t.Cleanup(func() {
		if _, err := db.ExecContext(context.Background(), "DROP OWNED BY "+user+"; DROP ROLE "+user); err != nil {
			t.Error(err)
		}
	})
	poor := strings.Replace(d.ledger, "dray@", user+"@", 1)
	refused := func(ledger, want string) {
		t.Helper()
		_, checked := Check(t.Context(), ledger)
		s, err := Join(t.Context(), ledger, d.options())
		if err == nil {
			s.Close()
			t.Fatal("it joined")
		}
		for _, err := range []error{err, checked} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v does not say %q", err, want)
			}
		}
	}
	usable := func(ledger string) (found Found) {
		t.Helper()
		found, err := Check(t.Context(), ledger)
		must(t, err)
		if found.User != user || found.Newest != len(ledgerSchema) || found.TLS != "" || !strings.HasPrefix(found.Server, "1") || found.RoundTrip <= 0 {
			t.Errorf("found %+v", found)
		}
		return found
	}
	refused(poor, "CREATE SCHEMA dray AUTHORIZATION \""+user+`"`)
	_, err = db.ExecContext(t.Context(), "CREATE SCHEMA dray AUTHORIZATION "+user)
	must(t, err)
	if found := usable(poor); found.Schema != 0 {
		t.Errorf("it has found tables of version %d where there are none", found.Schema)
	}
	var written bool
	must(t, db.QueryRowContext(t.Context(), "SELECT to_regclass('dray.meta') IS NOT NULL").Scan(&written))
	if written {
		t.Error("the check has made tables")
	}
	s, err := Join(t.Context(), poor, d.options())
	must(t, err)
	must(t, s.PutManifest(t.Context(), manifest(1, 10)))
	must(t, s.Close())
	if found := usable(poor); found.Schema != found.Newest {
		t.Errorf("it has found tables of version %d", found.Schema)
	}
	_, err = db.ExecContext(t.Context(), "UPDATE dray.meta SET version = 1; ALTER TABLE dray.meta OWNER TO dray; GRANT SELECT ON dray.meta TO "+user)
	must(t, err)
	if _, err := Check(t.Context(), poor); !errors.Is(err, errNotOwner) {
		t.Error("tables of another that are to be altered:", err)
	}
	_, err = db.ExecContext(t.Context(), "ALTER TABLE dray.meta OWNER TO "+user)
	must(t, err)
	usable(poor)
	_, err = db.ExecContext(t.Context(), "UPDATE dray.meta SET version = 99")
	must(t, err)
	usable(poor)
	s, err = Join(t.Context(), poor, d.options()) // a later dray has only added
	must(t, err)
	if !kept(t, s.Store, manifest(1, 10)) {
		t.Error("what was kept is gone")
	}
	must(t, s.Close())
	_, err = db.ExecContext(t.Context(), "UPDATE dray.meta SET readable_from = 99")
	must(t, err)
	refused(poor, "use a later one")
}

// TestLedgerMigrates: what an earlier dray has made and claimed goes on.
func TestLedgerMigrates(t *testing.T) {
	database := postgrestest.Database(t)
	db, err := sql.Open("pgx", database)
	must(t, err)
	defer db.Close()
	for _, step := range []string{
		"CREATE SCHEMA dray", ledgerMeta, ledgerVersion1, ledgerVersion2, "INSERT INTO dray.meta VALUES (1, 2, 1)",
		"INSERT INTO dray.inforce VALUES (1, 'one', 1, 1)",
		`INSERT INTO dray.jobs (name, fingerprint, anchor, started, ended, succeeded, failures, seen, deferred, given, vain, due, due_cause, planned, asked, begun, begun_cause, removed, member)
			VALUES ('free', '', 1, 0, 0, 0, 0, 1, 0, 0, 0, 1, 'first', 'f', false, 0, '', false, NULL), ('claimed', '', 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, '', 'f', false, 1, 'schedule', false, 7)`,
	} {
		_, err := db.ExecContext(t.Context(), step)
		must(t, err)
	}
	l, err := Join(t.Context(), database, Options{Now: time.Now})
	must(t, err)
	defer l.Close()
	m, err := l.Enter(t.Context(), MemberOptions{Name: "a", Lease: lease})
	must(t, err)
	must(t, m.sweep(t.Context()))
	done, err := m.Hold(t.Context(), "x", quietly)
	must(t, err)
	done()
	for _, job := range []string{"free", "claimed"} { // one has waited for longer than the other
		if claim := taken(t, m); claim == nil || claim.Job != job || claim.Some != nil {
			t.Errorf("%s: %+v", job, claim)
		}
	}
}

// TestJoinWithoutTLS asks a server that offers no TLS to prove its name.
func TestJoinWithoutTLS(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 8))
			_, _ = c.Write([]byte{'N'}) // https://www.postgresql.org/docs/15/protocol-flow.html, "SSL Session Encryption"
			_ = c.Close()
		}
	}()
	_, err = Join(t.Context(), fmt.Sprintf("postgres://dray:secret@%s/dray?sslmode=verify-full", l.Addr()), newStand(t).options())
	if err == nil || !strings.Contains(err.Error(), "sslmode=disable") || strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
}

// TestLedgerClock: processes whose clocks differ go by that of the database.
func TestLedgerClock(t *testing.T) {
	database := postgrestest.Database(t)
	options := func(ahead time.Duration) Options {
		return Options{Now: func() time.Time { return time.Now().Add(ahead) }}
	}
	early, err := Join(t.Context(), database, options(-1000*time.Hour))
	must(t, err)
	defer early.Close()
	late, err := Join(t.Context(), database, options(1000*time.Hour))
	must(t, err)
	defer late.Close()
	for _, s := range []*Ledger{late, early} {
		must(t, s.Change(t.Context(), "a", func(_ []byte, at time.Time) []byte {
			if off := time.Since(at).Abs(); off > time.Minute {
				t.Errorf("%v beside the clock of the database", off)
			}
			return nil
		}))
		must(t, s.PutReferrersSeen(t.Context(), repo("a"), digest(1)))
		must(t, s.PutManifest(t.Context(), manifest(1, 10)))
		for _, other := range []*Ledger{early, late} {
			must(t, other.Prune(t.Context(), other.options.Now().Add(-time.Hour), 0))
			if at, ok, err := other.ReferrersSeen(t.Context(), repo("a"), digest(1)); !ok || err != nil || time.Since(at).Abs() > time.Minute {
				t.Error(at, ok, err)
			}
			if !kept(t, other.Store, manifest(1, 10)) || other.pending > 0 {
				t.Error("what is new counts as old", other.pending)
			}
		}
	}
}

// set changes a setting of a database, for connections that begin later.
func set(t *testing.T, database, name, value string) {
	t.Helper()
	db, err := sql.Open("pgx", database)
	must(t, err)
	defer db.Close()
	_, err = db.ExecContext(t.Context(), fmt.Sprintf("DO $$ BEGIN EXECUTE format('ALTER DATABASE %%I SET %s = %%L', current_database(), '%s'); END $$", name, value))
	must(t, err)
	_, _ = db.ExecContext(t.Context(), "SELECT pg_terminate_backend(pg_backend_pid())") // a pooler keeps it
}

// TestSettings: what dray relies on does not depend on how the database is set up.
func TestSettings(t *testing.T) {
	settings := map[string]string{"default_transaction_isolation": "serializable", "bytea_output": "escape"}
	database := postgrestest.Database(t)
	for name, value := range settings {
		set(t, database, name, value)
	}
	l, err := Join(t.Context(), database, newStand(t).options())
	must(t, err)
	defer l.Close()
	var isolation string
	must(t, l.reader.QueryRowContext(t.Context(), "SHOW transaction_isolation").Scan(&isolation))
	must(t, l.PutManifest(t.Context(), manifest(1, 100)))
	if !kept(t, l.Store, manifest(1, 100)) || isolation != "read committed" {
		t.Errorf("the isolation level is %q, or a manifest is lost", isolation)
	}

	other, err := url.Parse(database)
	must(t, err)
	other.Path += "ascii"
	_, err = l.reader.ExecContext(t.Context(), "CREATE DATABASE "+other.Path[1:]+" TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C' LOCALE_PROVIDER libc")
	must(t, err)
	if _, err := Join(t.Context(), other.String(), newStand(t).options()); err == nil || !strings.Contains(err.Error(), "its encoding is SQL_ASCII") {
		t.Error(err)
	}

	for name, value := range settings { // a pooler may not pass on what a client asks for
		pooled := postgrestest.Pooled(t)
		set(t, pooled, name, value)
		_, err := Join(t.Context(), pooled, newStand(t).options())
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("its setting %s is %q", name, value)) || !strings.Contains(err.Error(), `ALTER ROLE "dray" IN DATABASE "test`) || strings.Contains(err.Error(), "\n") {
			t.Error(err)
		}
	}
}

// TestLockTimeout: a write that a setting of the database ends, since another has locked what it changes, is sent again.
func TestLockTimeout(t *testing.T) {
	t.Parallel()
	database := postgrestest.Database(t)
	set(t, database, "lock_timeout", "3s")
	l, err := Join(t.Context(), database, newStand(t).options())
	must(t, err)
	defer l.Close()
	other, err := l.reader.BeginTx(t.Context(), nil)
	must(t, err)
	_, err = other.ExecContext(t.Context(), "UPDATE dray.meta SET version = version")
	must(t, err)
	written := make(chan error, 1)
	go func() {
		_, err := l.dialect.write(t.Context(), []statement{do("UPDATE {meta} SET version = version")}, false)
		written <- err
	}()
	for attempts := map[string]bool{}; len(attempts) < 2; time.Sleep(10 * time.Millisecond) { // a real server
		var begun string
		const waiting = "SELECT coalesce(max(query_start::text), '') FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
		must(t, l.reader.QueryRowContext(t.Context(), waiting).Scan(&begun))
		if begun != "" {
			attempts[begun] = true
		}
		select {
		case err := <-written:
			t.Fatal("it gives up, or does not wait:", err)
		default:
		}
	}
	must(t, other.Rollback())
	must(t, <-written)
}

// TestPooled works through PgBouncer, which gives each transaction any of its two connections.
func TestPooled(t *testing.T) {
	d := newStand(t)
	d.ledger = postgrestest.Pooled(t)
	s, err := Join(t.Context(), d.ledger, d.options())
	must(t, err)
	defer s.Close()
	var g errgroup.Group
	for n := range 8 {
		g.Go(func() error {
			for i := range 10 {
				run, state := busyRun(d, fmt.Sprint(n), 3)
				if err := s.KeepRun(t.Context(), run, state); err != nil {
					return err
				}
				if err := s.PutManifest(t.Context(), manifest(i, 100)); err != nil {
					return err
				}
				if _, _, err := s.Manifest(t.Context(), manifest(i, 100).Digest); err != nil {
					return err
				}
				if _, err := s.Holds(t.Context(), repo("a"), []image.Digest{digest(i)}); err != nil {
					return err
				}
				if _, err := s.History(t.Context(), HistoryQuery{Limit: 10}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	must(t, g.Wait())
	if got := len(history(t, s.Store, HistoryQuery{Limit: 1000})); got != 80 {
		t.Errorf("%d runs", got)
	}
}

func anchoredFew(d *stand) map[string]record.State {
	all := map[string]record.State{}
	for i := range 30 {
		all[fmt.Sprint(i)] = record.State{Anchor: d.Now()}
	}
	return all
}

func allVerified(hosts []*pgconn.FallbackConfig) bool {
	return !slices.ContainsFunc(hosts, func(f *pgconn.FallbackConfig) bool { return f.TLSConfig == nil || f.TLSConfig.InsecureSkipVerify })
}

// TestCheckOverTLS asks a server behind TLS, whose name is proved by a certificate.
func TestCheckOverTLS(t *testing.T) {
	database, err := url.Parse(postgrestest.Database(t))
	must(t, err)
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS()
	defer server.Close()
	roots := filepath.Join(t.TempDir(), "roots.pem")
	must(t, os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.ReadFull(c, make([]byte, 8)) // it asks for TLS
				_, _ = c.Write([]byte{'S'})
				secure := tls.Server(c, &tls.Config{Certificates: server.TLS.Certificates})
				behind, err := net.Dial("unix", database.Query().Get("host")+"/.s.PGSQL.5432")
				if err != nil {
					return
				}
				defer behind.Close()
				go func() { _, _ = io.Copy(secure, behind) }()
				_, _ = io.Copy(behind, secure)
			}()
		}
	}()
	found, err := Check(t.Context(), fmt.Sprintf("postgres://dray@%s%s?sslmode=verify-full&sslrootcert=%s", l.Addr(), database.Path, roots))
	if err != nil || found.TLS != "TLS 1.3" {
		t.Errorf("%+v, %v", found, err)
	}
}
