package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/postgrestest"
	"github.com/draysync/dray/internal/record"
)

// ledgerDB opens the database of a ledger.
func ledgerDB(t *testing.T, url string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// TestReplicasKeepNoSecrets: no table of the ledger has a secret of the config, after runs that succeed and fail.
func TestReplicasKeepNoSecrets(t *testing.T) {
	timed(t)
	url := postgrestest.Database(t)
	source := registry.New(registry.Options{})
	from, to := start(t, source), start(t, registry.New(registry.Options{}))
	if err := registry.SingleArch(1, "linux/amd64", registry.ImageOptions{LayerSize: 1000}).Push(source, "app", "v1"); err != nil {
		t.Fatal(err)
	}
	d := newDesk(t)
	secrets := []string{"registry-password", "server-token-of-16", "webhook-signing-key-of-24", "webhook-path", "receiver-secret-of-16"}
	d.write(filepath.Join(d.dir, "password"), secrets[0])
	d.write(d.config, strings.Join([]string{
		"version: 1", fmt.Sprintf("server: {listen: 'unix:%s', token: %s}", d.socket, secrets[1]), "cluster: {ledger: '" + withPassword(url) + "', name: dray-1}",
		fmt.Sprintf("registries: {'%s': {plainHTTP: true, username: ann, password: '${file:%s}'}}", from, filepath.Join(d.dir, "password")),
		fmt.Sprintf("notifications: [{webhook: 'http://127.0.0.1:1/%s', secret: %s, on: [imported, failed]}]", secrets[3], secrets[2]),
		fmt.Sprintf("receivers: [{name: hub, type: dockerhub, secret: %s}]", secrets[4]),
		"mappings:", mapping("name: good, source: '%s/app', target: '%s/app', tags: [v1], referrers: false", from, to),
		mapping("name: bad, source: '%s/none', target: '%s/none', tags: [v1], referrers: false", from, to),
	}, "\n"))
	r := launch(t, d.config, d.socket)
	r.until(t, "both have run", func() bool {
		s := r.status(t)
		good, bad := find(s, "good").Last, find(s, "bad").Last
		return good != nil && good.Outcome == record.RunOK && bad != nil && bad.Outcome != record.RunOK
	})
	checked := dray(t, "check", "--online", "-c", d.config)
	checkNoPassword(t, checked.out, checked.err)
	if !strings.Contains(checked.out, " as dray: PostgreSQL ") || !strings.Contains(checked.out, ", without TLS, schema ") {
		t.Errorf("check --online says of the ledger: %s%s", checked.out, checked.err)
	}
	db := ledgerDB(t, url)
	rows, err := db.QueryContext(t.Context(), "SELECT table_name FROM information_schema.tables WHERE table_schema = 'dray'")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	tables, size := 0, 0
	for rows.Next() {
		var name, text string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		if err := db.QueryRowContext(t.Context(), `SELECT coalesce(string_agg(t::text, E'\n'), '') FROM dray."`+name+`" t`).Scan(&text); err != nil {
			t.Fatal(err)
		}
		tables, size = tables+1, size+len(text)
		for _, secret := range append(secrets, ledgerPassword) {
			if strings.Contains(text, secret) {
				t.Errorf("the table %s has %q", name, secret)
			}
		}
	}
	if tables < 10 || size < 1000 {
		t.Errorf("only %d tables with %d bytes were looked at", tables, size)
	}
}

// TestReplicasIdle: replicas with many mappings, none of which is due, ask the ledger for little and take little of the processors.
func TestReplicasIdle(t *testing.T) {
	timed(t)
	const replicas, mappings, seconds = 3, 10_000, 30 // so long that each reports its jobs once
	url := postgrestest.Database(t)
	db := ledgerDB(t, url)
	var all []*running
	later := time.Now().UTC().Add(6 * time.Hour).Format("15")
	for n := range replicas {
		d := newDesk(t)
		lines := []string{"version: 1", "defaults: {timezone: UTC}", serverLine(d.socket), fmt.Sprintf("cluster: {ledger: '%s', name: replica-%d}", url, n), "mappings:"}
		for m := range mappings {
			lines = append(lines, mapping("name: job-%d, source: 'source.test/app-%d', target: 'target.test/app-%d', tags: [v1], schedule: '@hourly', "+
				"windows: [{from: '%s:00', to: '%s:30'}]", m, m, m, later, later))
		}
		d.write(d.config, strings.Join(lines, "\n"))
		all = append(all, launch(t, d.config, d.socket))
	}
	all[0].until(t, "all are there and idle", func() bool {
		s := all[0].status(t)
		return len(s.Replicas) == replicas && s.Totals.Running == 0 && len(s.Jobs) == mappings
	})
	count := func() (transactions int) {
		if err := db.QueryRowContext(context.Background(), "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()").Scan(&transactions); err != nil {
			t.Fatal(err)
		}
		return transactions
	}
	processor := func(r *running) (ticks int) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", r.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		fields := strings.Fields(string(text[strings.LastIndex(string(text), ")")+1:]))
		for _, f := range fields[11:13] { // user and system time
			var n int
			_, _ = fmt.Sscan(f, &n)
			ticks += n
		}
		return ticks
	}
	time.Sleep(12 * time.Second) // what the start has left to do; and a connection that is idle is counted after ten seconds
	before, begun, used := count(), time.Now(), 0
	for _, r := range all {
		used -= processor(r)
	}
	time.Sleep(seconds * time.Second)
	for _, r := range all {
		used += processor(r)
	}
	took := time.Since(begun).Seconds()
	each, core := float64(count()-before)/took, float64(used)/100/took/replicas
	t.Logf("%d replicas, %d mappings: %.1f transactions a second in all, %.2f %% of a core each", replicas, mappings, each, 100*core)
	if each > 10 {
		t.Errorf("%.1f transactions a second", each)
	}
}
