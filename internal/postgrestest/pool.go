package postgrestest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Pooled makes an empty database, and returns its URL at a PgBouncer of its own in transaction mode with two connections to the server.
func Pooled(tb testing.TB) string {
	tb.Helper()
	database := Database(tb)
	own, err := directory()
	if err != nil {
		tb.Fatal(err)
	}
	config := fmt.Sprintf("[databases]\n* = host=%s user=dray\n[pgbouncer]\nlisten_addr =\nunix_socket_dir = %s\nauth_type = any\n"+
		"pool_mode = transaction\ndefault_pool_size = 2\nmax_client_conn = 100\n", dir, own)
	file := filepath.Join(own, "pgbouncer.ini")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil { //nolint:gosec // another user reads it
		tb.Fatal(err)
	}
	pooler, err := startProcess(own, own, "TERM", "process up", "/usr/sbin/pgbouncer", file)
	if err != nil {
		tb.Fatalf("start PgBouncer: %v; install pgbouncer", err)
	}
	tb.Cleanup(pooler.stop)
	return strings.Replace(database, dir, own, 1) + "&port=6432"
}
