// Package postgrestest runs PostgreSQL for tests: one server for a test binary, reached by a socket, with a database for each that asks.
package postgrestest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	// Register the driver "pgx".
	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/draysync/dray/internal/fulltest"
)

var (
	once      sync.Once
	server    *process
	dir       string
	startErr  error
	databases atomic.Int64
)

// Database makes an empty database, and returns its URL. It is dropped when the test ends. TestMain has to call [Stop].
func Database(tb testing.TB) string {
	tb.Helper()
	fulltest.Require(tb)
	once.Do(func() { server, startErr = start() })
	if startErr != nil {
		tb.Fatalf("start PostgreSQL: %v", startErr)
	}
	name := fmt.Sprint("test", databases.Add(1))
	admin(tb, "CREATE DATABASE "+name)
	tb.Cleanup(func() { admin(tb, "DROP DATABASE "+name+" WITH (FORCE)") })
	return url(name)
}

// Stop ends the server, if one runs; TestMain calls it.
func Stop() {
	if server != nil {
		server.stop()
	}
}

func url(database string) string { return at(dir, database) }

// at is the URL of a database of the server in a directory.
func at(dir, database string) string { return "postgres://dray@/" + database + "?host=" + dir }

func admin(tb testing.TB, statement string) {
	tb.Helper()
	db, err := sql.Open("pgx", url("postgres"))
	if err != nil {
		tb.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(context.Background(), statement); err != nil {
		tb.Fatal(err)
	}
}

// start makes a cluster and starts its server, which writes to no disk in earnest.
func start() (_ *process, err error) {
	if dir, err = directory(); err != nil {
		return nil, err
	}
	return startIn(dir, dir, "-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")
}

// startIn starts a server in a directory, with a cluster that is made where it has none. When it ends, a directory is removed.
func startIn(dir, remove string, options ...string) (*process, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	attr, err := unprivileged()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startPatience)
	defer cancel()
	data := filepath.Join(dir, "data")
	if _, err := os.Stat(data); err == nil {
		return serve(bin, dir, remove, options)
	}
	initdb := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "-D", data, "-U", "dray", "-A", "trust", "-N", "-E", "UTF8",
		"--locale=C", "--locale-provider=icu", "--icu-locale=en-US") // the order of texts is not that of their bytes, as in most databases
	initdb.Dir, initdb.SysProcAttr = dir, attr
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	return serve(bin, dir, remove, options)
}

func serve(bin, dir, remove string, options []string) (*process, error) {
	return startProcess(dir, remove, "QUIT", "ready to accept", append([]string{filepath.Join(bin, "postgres"), "-D", filepath.Join(dir, "data"), "-k", dir,
		"-c", "listen_addresses=", "-c", "shared_buffers=16MB", "-c", "max_connections=200", "-c", "autovacuum=off"}, options...)...)
}

// programs returns the directory of Debian's newest PostgreSQL.
func programs() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(found) == 0 {
		return "", errors.Join(err, errors.New("install postgresql"))
	}
	return filepath.Dir(found[len(found)-1]), nil
}
