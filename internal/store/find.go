package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// finders are the prepared statements that read.
type finders struct {
	manifest, holders, holds, selected, referrers *sql.Stmt
	jobs, runs, runsOf, actions                   *sql.Stmt
	budget, operation, tagged                     *sql.Stmt
}

func prepare(ctx context.Context, db *sql.DB) (finders, error) {
	var f finders
	for _, statement := range []struct {
		to  **sql.Stmt
		sql string
	}{
		{&f.manifest, fmt.Sprintf("SELECT media_type, CASE WHEN length(raw) <= %d THEN raw END, used FROM manifests WHERE digest = ?", maxManifest)},
		{&f.holders, fmt.Sprintf("SELECT r.id, r.registry, r.path, b.used FROM blobs b CROSS JOIN repositories r ON r.id = b.repository "+
			"WHERE b.digest = ? AND r.registry = ? AND r.committed ORDER BY b.used DESC LIMIT %d", maxHolders)},
		{&f.holds, "SELECT b.repository, b.digest, b.used FROM repositories r CROSS JOIN blobs b ON b.repository = r.id " +
			"WHERE r.registry = ? AND r.path = ? AND b.digest IN (SELECT value FROM json_each(?))"},
		{&f.selected, "SELECT target, used FROM selections WHERE source = ? AND platforms = ?"},
		{&f.referrers, "SELECT e.repository, e.seen, e.used FROM repositories r CROSS JOIN referrers e ON e.repository = r.id " +
			"WHERE r.registry = ? AND r.path = ? AND e.digest = ?"},
		{&f.tagged, "SELECT platforms, target, used FROM selections WHERE source = ? AND platforms IN (SELECT value FROM json_each(?))"},
		{&f.jobs, "SELECT j.name, " + columnsOf("j", jobColumns) + ", coalesce(r.id, 0), coalesce(r.cause, ''), coalesce(r.error, ''), " +
			"coalesce(r.outcome, ''), coalesce(r.started, 0), coalesce(r.ended, 0), coalesce(" + strings.ReplaceAll(columnsOf("r", countColumns), ", ", ", 0), coalesce(") + ", 0) " +
			"FROM jobs j LEFT JOIN runs r ON r.id = (SELECT max(id) FROM runs WHERE job = j.id)"},
		{&f.runs, "SELECT " + columnsOf("r", runColumns) + ", r.id, j.name FROM runs r CROSS JOIN jobs j ON j.id = r.job WHERE r.id < ? ORDER BY r.id DESC LIMIT ?"},
		{&f.runsOf, "SELECT " + columnsOf("r", runColumns) + ", r.id, j.name FROM jobs j CROSS JOIN runs r ON r.job = j.id " +
			"WHERE j.name = ? AND r.id < ? ORDER BY r.id DESC LIMIT ?"},
		{&f.actions, "SELECT " + actionColumns + ", run FROM outcomes WHERE run IN (SELECT value FROM json_each(?)) ORDER BY run DESC, position"},
		{&f.budget, fmt.Sprintf("SELECT CASE WHEN length(state) <= %d THEN state END FROM budgets WHERE name = ?", maxBudget)},
		{&f.operation, fmt.Sprintf("SELECT CASE WHEN length(state) <= %d THEN state END FROM operations WHERE name = ?", maxOperation)},
	} {
		made, err := db.PrepareContext(ctx, statement.sql)
		if err != nil {
			return finders{}, err
		}
		*statement.to = made
	}
	return f, nil
}
