package store

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/draysync/dray/internal/postgrestest"
	"github.com/draysync/dray/internal/record"
)

// explained is the dialect of PostgreSQL, of which statements are only explained.
type explained struct {
	*postgres
	plans map[string]string // by statement
}

func (e *explained) write(ctx context.Context, list []statement, _ bool) (int64, error) {
	for _, st := range list {
		if err := e.explain(ctx, st.sql, st.args); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

func (e *explained) explain(ctx context.Context, query string, args []any) error {
	rows, err := e.db.QueryContext(ctx, "EXPLAIN "+e.text(query, args), e.values(args)...)
	if err != nil {
		return err
	}
	defer rows.Close()
	var plan []string
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			return err
		}
		plan = append(plan, line)
	}
	e.plans[query] = strings.Join(plan, "\n")
	return rows.Err()
}

// TestPlans reads how PostgreSQL executes statements where there are 10,000 jobs with three runs each: by indexes, but for what reads the
// states of all jobs.
func TestPlans(t *testing.T) {
	d := newStand(t)
	l, err := Join(t.Context(), postgrestest.Database(t), d.options())
	must(t, err)
	defer l.Close()
	_, err = l.writer.ExecContext(t.Context(), `
		INSERT INTO dray.jobs (name, fingerprint, anchor, started, ended, succeeded, failures, seen, deferred, given, vain, due, due_cause, planned, asked, begun, begun_cause)
			SELECT 'job' || n, 'f', 1, 1, 1, 1, 0, dray.now(), 0, 0, 0, 0, '', '', false, 0, '' FROM generate_series(1, 10000) n;
		INSERT INTO dray.runs (job, quiet, `+runColumns+`)
			SELECT j.id, false, 1, 1, 0, 0, 0, 0, 0, 0, 0, n, n, '', 'ok', 'schedule', 0, 0, 0, 150 FROM generate_series(1, 3) n, dray.jobs j;
		INSERT INTO dray.outcomes (run, `+actionColumns+`, position)
			SELECT r.id, 'import', 'new', 'a', 'b', 'd', '', 'copy', '', '', 'imported', 0, 0, 0, false, 1, 0, n FROM generate_series(1, 1) n, dray.runs r;
		INSERT INTO dray.repositories (registry, path, committed, used) SELECT 'target.test:5000', 'r' || n, true, dray.now() FROM generate_series(1, 2000) n;
		INSERT INTO dray.blobs (repository, digest, used) SELECT r.id, 'sha256:' || n * 7 + r.id, dray.now() FROM generate_series(1, 20) n, dray.repositories r;
		INSERT INTO dray.referrers (repository, digest, seen, used) SELECT r.id, 'sha256:' || n, 1, dray.now() FROM generate_series(1, 5) n, dray.repositories r;
		INSERT INTO dray.manifests (digest, media_type, raw, used) SELECT 'sha256:' || n, 'm', repeat('x', 1000)::bytea, dray.now() - n * 1000 FROM generate_series(1, 20000) n;
		INSERT INTO dray.selections (source, platforms, target, used) SELECT 'sha256:' || n, 'p' || m, 't', dray.now() FROM generate_series(1, 1000) n, generate_series(1, 20) m;
		UPDATE dray.jobs SET removed = false, due = dray.now() + id * 1000, priority = id % 3;
		ANALYZE`)
	must(t, err)
	e := &explained{l.dialect.(*postgres), map[string]string{}}
	l.dialect = e
	ctx := t.Context()
	// What is written.
	for _, r := range []touch{{table: "manifests"}, {table: "selections", platforms: "p1"}, {table: "blobs", repository: 1}, {table: "referrers", repository: 1}} {
		l.touch(r, string(digest(1)), false)
	}
	run, state := busyRun(d, "job1", 3)
	must(t, l.KeepRun(ctx, run, state))
	run, state = quietRun(d, "job1", 3)
	must(t, l.KeepRun(ctx, run, state))
	must(t, l.KeepJobs(ctx, map[string]record.State{"job2": state}))
	must(t, l.AddBlobs(ctx, repo("r1"), digests(0, 100), true))
	must(t, l.Forget(ctx, repo("r1"), digests(0, 100)...))
	must(t, l.Forget(ctx, repo("r1")))
	must(t, l.PutReferrersSeen(ctx, repo("r1"), digest(1)))
	must(t, l.PutSelected(ctx, digest(1), "p", digest(2)))
	must(t, l.PutManifest(ctx, manifest(1, 10)))
	must(t, l.dropRepository(ctx, 1, later))
	must(t, l.dropRuns(ctx, []int64{1, 2, 3}))
	must(t, l.dropOutcomes(ctx, []int64{1, 2, 3}))
	_, err = l.dropManifests(ctx, moment(-18000*time.Second))
	must(t, err)
	// What is read, with its parameters.
	for query, args := range map[*finder][]any{
		&l.find.manifest:  {dayAgo, dayAhead, "sha256:1"},
		&l.find.holders:   {dayAgo, dayAhead, "sha256:1", "target.test:5000"},
		&l.find.holds:     {dayAgo, dayAhead, "target.test:5000", "r1", array(digests(0, 1000))},
		&l.find.selected:  {dayAgo, dayAhead, "sha256:1", "p1"},
		&l.find.referrers: {dayAgo, dayAhead, "target.test:5000", "r1", "sha256:1", now},
		&l.find.tagged:    {dayAgo, dayAhead, "sha256:1", array([]string{"p1", "p2"})},
		&l.find.runs:      {1 << 60, 50},
		&l.find.runsOf:    {"job1", 1 << 60, 50},
		&l.find.actions:   {array([]int64{1, 2, 3})},
		&l.find.jobs:      nil,
	} {
		must(t, e.explain(ctx, query.query, args))
	}
	must(t, e.explain(ctx, take, []any{now, now, now, "[]", "[]", 1, now, record.Event, 1, now, 1}))
	if !strings.Contains(e.plans[take], "Index Scan using jobs_") {
		t.Error(e.plans[take])
	}
	for _, condition := range []string{othersPart, ownPart} {
		args := []any{maxLosses, 1, "[]", 1, 1, now, 1, now}
		must(t, e.explain(ctx, takePart(condition), args))
	}
	scan := regexp.MustCompile(`Seq Scan on (manifests|repositories|blobs|referrers|selections|jobs|runs|outcomes)`)
	for query, plan := range e.plans {
		if scan.MatchString(plan) && query != l.find.jobs.query {
			t.Errorf("%s\n%s", query, plan)
		}
	}
	if len(e.plans) < 30 {
		t.Errorf("%d statements", len(e.plans))
	}
}
