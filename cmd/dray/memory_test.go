package main

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/postgrestest"
)

// ledgerPassword is a secret of a config.
const ledgerPassword = "hunter2"

// withPassword puts a password into the URL of a ledger.
func withPassword(url string) string {
	return strings.Replace(url, "dray@", "dray:"+ledgerPassword+"@", 1)
}

// checkNoPassword checks that nothing that a command has said contains the ledger's password.
func checkNoPassword(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if strings.Contains(text, ledgerPassword) {
			t.Errorf("the ledger's password is told:\n%s", text)
		}
	}
}

// A ledger that cannot be reached, or is none, stops a daemon at its start, in time and with the reason; other commands go on without it, and
// dray check --online says why. None says the password.
func TestLedgerIsNotThere(t *testing.T) {
	fulltest.Long(t)
	t.Parallel()
	source := registry.New(registry.Options{})
	from := start(t, source)
	if err := registry.SingleArch(1, "linux/amd64", registry.ImageOptions{LayerSize: 1000}).Push(source, "app", "v1"); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ ledger, want string }{
		"nobody listens": {withPassword("postgres://dray@127.0.0.1:1/dray?sslmode=disable"), "join the ledger 127.0.0.1/dray"},
		"no TLS":         {withPassword("postgres://dray@" + from + "/dray?sslmode=verify-full"), "join the ledger"},
		"a bad option":   {withPassword("postgres://dray@127.0.0.1:1/dray?sslmode=sometimes"), "join the ledger"},
		"a bad port":     {withPassword("postgres://dray@127.0.0.1/dray?port=many"), "join the ledger"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := writeConfig(t, "server: {listen: ''}", "cluster: {ledger: '"+tt.ledger+"'}", "mappings:",
				mapping("source: '%s/app', target: '%s/copy', tags: [v1], referrers: false", from, from))
			began := time.Now()
			a := dray(t, "run", "-c", c)
			if took := time.Since(began); a.code != exitFailed || !strings.Contains(a.err, tt.want) || took > time.Minute {
				t.Errorf("dray run: exit code %d after %s\n%s%s", a.code, took, a.out, a.err)
			}
			if strings.Contains(a.err, "going on") {
				t.Errorf("dray run says that it goes on:\n%s", a.err)
			}
			online := dray(t, "check", "--online", "-c", c)
			if !strings.Contains(online.out+online.err, "cluster: join the ledger") {
				t.Errorf("dray check --online: exit code %d\n%s%s", online.code, online.out, online.err)
			}
			offline := dray(t, "check", "-c", c)
			if offline.code != exitDone || strings.Contains(offline.out+offline.err, "join the ledger") {
				t.Errorf("dray check: exit code %d\n%s%s", offline.code, offline.out, offline.err)
			}
			sync := dray(t, "sync", "-c", c)
			if sync.code != exitDone || !strings.Contains(sync.err, "no memory of earlier runs") {
				t.Errorf("dray sync: exit code %d\n%s%s", sync.code, sync.out, sync.err)
			}
			for _, a := range []answer{a, online, offline, sync} {
				checkNoPassword(t, a.out, a.err)
			}
		})
	}
}

// dray check --online says what a ledger is that can be used, and writes nothing there.
func TestCheckLedger(t *testing.T) {
	t.Parallel()
	url := postgrestest.Database(t)
	from := start(t, registry.New(registry.Options{}))
	c := writeConfig(t, "cluster: {ledger: '"+withPassword(url)+"'}", "mappings:", mapping("source: '%s/app', target: '%s/copy', tags: [v1]", from, from))
	a := dray(t, "check", "--online", "-c", c)
	if a.code != exitDone || !strings.Contains(a.out, "no tables yet, answers in ") || strings.Contains(a.out+a.err, "cluster") {
		t.Errorf("exit code %d\n%s%s", a.code, a.out, a.err)
	}
	checkNoPassword(t, a.out, a.err)
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var written bool
	if err := db.QueryRowContext(t.Context(), "SELECT to_regnamespace('dray') IS NOT NULL").Scan(&written); err != nil || written {
		t.Errorf("it has written into the ledger: %v", err)
	}
}

// A reload of what takes effect only at a start says so for each key, and what the key was, but no secret.
func TestClusterIsReloaded(t *testing.T) {
	t.Parallel()
	ledger := withPassword(postgrestest.Database(t))
	none, here := "", "cluster: {ledger: '"+ledger+"', name: dray-1, lease: 15s}"
	for name, tt := range map[string]struct {
		from, to string
		want     []string
	}{
		"a secret that was none": {none, here, []string{"cluster.ledger was ", "cluster.name was ", "cluster.lease was 0s"}},
		"no secret any more":     {here, none, []string{"cluster.ledger was a secret", "cluster.name was dray-1", "cluster.lease was 15s"}},
		"another secret":         {here, strings.Replace(here, "?", "?application_name=dray&", 1), []string{"cluster.ledger was a secret"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clusterIsReloaded(t, tt.from, tt.to, tt.want)
		})
	}
}

func clusterIsReloaded(t *testing.T, before, after string, want []string) {
	from := start(t, registry.New(registry.Options{}))
	d := newDesk(t)
	write := func(cluster string) {
		d.write(d.config, strings.Join([]string{
			"version: 1", "stateDir: " + filepath.Join(d.target, "state"), serverLine(d.socket), cluster,
			"mappings:", mapping("source: '%s/app', target: '%s/copy', tags: [v1], schedule: '@daily'", from, from),
		}, "\n"))
	}
	write(before)
	r := launch(t, d.config, d.socket)
	write(after)
	var said []string
	r.until(t, "it says what takes effect at a start", func() bool {
		said = nil
		for _, entry := range r.log.entries(t, "a key of the config takes effect only when dray is restarted") {
			said = append(said, fmt.Sprint(entry["key"], " was ", entry["was"]))
		}
		return len(said) >= len(want)
	})
	if !slices.Equal(said, want) {
		t.Errorf("%q", said)
	}
	r.stop(t)
	checkNoPassword(t, r.log.String())
}
