package store

import (
	"context"
	"fmt"
	"strings"
)

// finders are the statements that read.
type finders struct {
	manifest, holders, holds, selected, referrers finder
	jobs, runs, runsOf, actions                   finder
	budget, operation, tagged                     finder
}

// prepare prepares the finders, if the database has it so.
func (s *Store) prepare(ctx context.Context, ahead bool) error {
	f := &s.find
	for _, statement := range []struct {
		to  *finder
		sql string
	}{
		{&f.manifest, fmt.Sprintf("SELECT media_type, CASE WHEN length(raw) <= %d THEN raw END, %s FROM {manifests} WHERE digest = ?", maxManifest, fresh)},
		{&f.holders, fmt.Sprintf("SELECT r.id, r.registry, r.path, b."+fresh+" FROM {blobs} b {join} {repositories} r ON r.id = b.repository "+
			"WHERE b.digest = ? AND r.registry = ? AND r.committed ORDER BY b.used DESC LIMIT %d", maxHolders)},
		{&f.holds, "SELECT b.repository, b.digest, b." + fresh + " FROM {repositories} r {join} {blobs} b ON b.repository = r.id " +
			"WHERE r.registry = ? AND r.path = ? AND b.digest {in texts}"},
		{&f.selected, "SELECT target, " + fresh + " FROM {selections} WHERE source = ? AND platforms = ?"},
		{&f.referrers, "SELECT e.repository, e.seen, e." + fresh + " FROM {repositories} r {join} {referrers} e ON e.repository = r.id " +
			"WHERE r.registry = ? AND r.path = ? AND e.digest = ? AND e.seen <= ?"},
		{&f.tagged, "SELECT platforms, target, " + fresh + " FROM {selections} WHERE source = ? AND platforms {in texts}"},
		{&f.jobs, "SELECT j.name, " + columnsOf("j", jobColumns) + ", coalesce(r.id, 0), coalesce(r.cause, ''), coalesce(r.error, ''), " +
			"coalesce(r.outcome, ''), coalesce(r.started, 0), coalesce(r.ended, 0), coalesce(" + strings.ReplaceAll(columnsOf("r", countColumns), ", ", ", 0), coalesce(") + ", 0) " +
			"FROM {jobs} j LEFT JOIN {runs} r ON r.id = (SELECT max(id) FROM {runs} WHERE job = j.id AND cause NOT IN ('event', 'approved'))"},
		{&f.runs, "SELECT " + columnsOf("r", runColumns) + ", r.id, j.name FROM {runs} r {join} {jobs} j ON j.id = r.job WHERE r.id < ? ORDER BY r.id DESC LIMIT ?"},
		{&f.runsOf, "SELECT " + columnsOf("r", runColumns) + ", r.id, j.name FROM {jobs} j {join} {runs} r ON r.job = j.id " +
			"WHERE j.name = ? AND r.id < ? ORDER BY r.id DESC LIMIT ?"},
		{&f.actions, "SELECT " + actionColumns + ", run FROM {outcomes} WHERE run {in numbers} ORDER BY run DESC, position"},
		{&f.budget, fmt.Sprintf("SELECT ?, (SELECT CASE WHEN length(state) <= %d THEN state END FROM {budgets} WHERE name = ?)", maxBudget)},
		{&f.operation, fmt.Sprintf("SELECT CASE WHEN length(state) <= %d THEN state END FROM {operations} WHERE name = ?", maxOperation)},
	} {
		*statement.to = finder{dialect: s.dialect, query: statement.sql, db: s.reader}
		if !ahead {
			continue
		}
		var err error
		if statement.to.prepared, err = s.reader.PrepareContext(ctx, s.dialect.text(statement.sql, nil)); err != nil {
			return err
		}
	}
	return nil
}
