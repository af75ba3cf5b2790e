package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// applicationID marks the file as dray's ("dray" in ASCII; https://www.sqlite.org/pragma.html#pragma_application_id).
const applicationID = 0x64726179

// schema returns the SQL that migrates each version of the database to the next; the version is their number. A released element never
// changes: a new version is a new element.
func schema() []string {
	return []string{version1, version2, version3, version4, version5, version6, version7}
}

// Times are Unix milliseconds. used is when a row was last written or read, exact to a day.
const version1 = `
CREATE TABLE manifests (
	digest     TEXT PRIMARY KEY NOT NULL,
	media_type TEXT NOT NULL,
	raw        BLOB NOT NULL,
	used       INTEGER NOT NULL
) STRICT;
CREATE INDEX manifests_used ON manifests (used);

-- committed: a registry has accepted a manifest for the repository.
CREATE TABLE repositories (
	id        INTEGER PRIMARY KEY,
	registry  TEXT NOT NULL,
	path      TEXT NOT NULL,
	committed INTEGER NOT NULL,
	used      INTEGER NOT NULL,
	UNIQUE (registry, path)
) STRICT;

CREATE TABLE blobs (
	repository INTEGER NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
	digest     TEXT NOT NULL,
	used       INTEGER NOT NULL,
	PRIMARY KEY (repository, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX blobs_digest ON blobs (digest, used);

CREATE TABLE referrers (
	repository INTEGER NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
	digest     TEXT NOT NULL,
	seen       INTEGER NOT NULL,
	used       INTEGER NOT NULL,
	PRIMARY KEY (repository, digest)
) STRICT, WITHOUT ROWID;

CREATE TABLE selections (
	source    TEXT NOT NULL,
	platforms TEXT NOT NULL,
	target    TEXT NOT NULL,
	used      INTEGER NOT NULL,
	PRIMARY KEY (source, platforms)
) STRICT, WITHOUT ROWID;
`

// Times are Unix milliseconds, and 0 is no time.
const version2 = `
-- What lasts of a job. seen: when it was last known to be wanted, exact to a day.
CREATE TABLE jobs (
	id          INTEGER PRIMARY KEY,
	name        TEXT NOT NULL UNIQUE,
	fingerprint TEXT NOT NULL,
	anchor      INTEGER NOT NULL,
	started     INTEGER NOT NULL,
	ended       INTEGER NOT NULL,
	succeeded   INTEGER NOT NULL,
	failures    INTEGER NOT NULL,
	seen        INTEGER NOT NULL
) STRICT;

-- Later runs have larger ids. quiet: it had nothing to do and nothing to say. repeats: for how many runs right before it, equal to
-- it but for their times, the row stands too; since: when the first of them started. more: outcomes that have no row.
-- size: about how many bytes it takes, with its outcomes.
CREATE TABLE runs (
	id            INTEGER PRIMARY KEY,
	job           INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
	cause         TEXT NOT NULL,
	started       INTEGER NOT NULL,
	ended         INTEGER NOT NULL,
	keep          INTEGER NOT NULL,
	import        INTEGER NOT NULL,
	refuse        INTEGER NOT NULL,
	failed        INTEGER NOT NULL,
	deferred      INTEGER NOT NULL,
	pulls         INTEGER NOT NULL,
	bytes         INTEGER NOT NULL,
	bytes_mounted INTEGER NOT NULL,
	quiet         INTEGER NOT NULL,
	repeats       INTEGER NOT NULL,
	since         INTEGER NOT NULL,
	more          INTEGER NOT NULL,
	size          INTEGER NOT NULL,
	error         TEXT NOT NULL
) STRICT;
CREATE INDEX runs_job ON runs (job);

-- duration: nanoseconds.
CREATE TABLE outcomes (
	run           INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
	position      INTEGER NOT NULL,
	op            TEXT NOT NULL,
	outcome       TEXT NOT NULL,
	reason        TEXT NOT NULL,
	source        TEXT NOT NULL,
	target        TEXT NOT NULL,
	digest        TEXT NOT NULL,
	was           TEXT NOT NULL,
	engine        TEXT NOT NULL,
	error         TEXT NOT NULL,
	code          TEXT NOT NULL,
	pulls         INTEGER NOT NULL,
	bytes         INTEGER NOT NULL,
	bytes_mounted INTEGER NOT NULL,
	duration      INTEGER NOT NULL,
	retry_at      INTEGER NOT NULL,
	PRIMARY KEY (run, position)
) STRICT, WITHOUT ROWID;

-- One row, written to see whether writing works.
CREATE TABLE checks (
	id INTEGER PRIMARY KEY CHECK (id = 1),
	at INTEGER NOT NULL
) STRICT;
`

// What is known of the budgets of registries, as the package that knows them writes it.
const version3 = `
CREATE TABLE budgets (
	name  TEXT PRIMARY KEY NOT NULL,
	state BLOB NOT NULL,
	used  INTEGER NOT NULL
) STRICT;
`

// What goes on elsewhere and is to be taken up after a restart, as the package that began it writes it.
const version4 = `
CREATE TABLE operations (
	name  TEXT PRIMARY KEY NOT NULL,
	state BLOB NOT NULL,
	used  INTEGER NOT NULL
) STRICT;
`

// What lasts of a job over restarts beside its last run: until when what was deferred waits, when something last came of such a wait, and
// how many waits in a row brought nothing; when it is due and why, as the job that has the fingerprint "planned"; the run under way.
// What an earlier dray has kept is completed from its last run.
const version5 = `
ALTER TABLE jobs ADD COLUMN deferred INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN given INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN vain INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN due INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN due_cause TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN planned TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN asked INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN begun INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN begun_cause TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN outcome TEXT NOT NULL DEFAULT '';

UPDATE runs SET outcome = CASE
	WHEN error LIKE '%dray is stopping' OR EXISTS (SELECT 1 FROM outcomes WHERE run = runs.id AND outcome = 'deferred' AND retry_at = 0) THEN 'cut-off'
	WHEN error <> '' OR failed > 0 AND keep + import = 0 THEN 'failed'
	WHEN failed > 0 THEN 'partly'
	WHEN deferred > 0 THEN 'deferred'
	ELSE 'ok' END;
UPDATE runs SET error = coalesce((SELECT error FROM outcomes WHERE run = runs.id AND outcome = 'failed' ORDER BY position LIMIT 1), '')
	WHERE error = '' AND failed > 0;
UPDATE jobs SET deferred = coalesce((SELECT min(retry_at) FROM outcomes
	WHERE run = (SELECT max(id) FROM runs WHERE job = jobs.id) AND outcome = 'deferred' AND retry_at > 0), 0);
`

const version6 = `
ALTER TABLE runs ADD COLUMN unverified INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outcomes ADD COLUMN unverified INTEGER NOT NULL DEFAULT 0;
`

// The pauses in force, by the job's name; that of all jobs has the empty one.
const version7 = `
CREATE TABLE pauses (
	name   TEXT PRIMARY KEY NOT NULL,
	since  INTEGER NOT NULL,
	who    TEXT NOT NULL,
	reason TEXT NOT NULL
) STRICT;
`

// migrate brings the database to the newest version, all or nothing. It begins to write in any case, so that an unwritable file is found
// here and not during an import.
func (s *Store) migrate(ctx context.Context) error {
	tx, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	var version int
	if err := tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	if version > len(s.schema) {
		return &unfitError{newer: version, cause: fmt.Errorf("it has version %d, and this dray knows %d at most", version, len(s.schema))}
	}
	if version == len(s.schema) {
		return nil
	}
	for i, step := range s.schema[version:] {
		_, err := tx.ExecContext(ctx, step)
		switch {
		case code(err) == codeError && strings.Contains(err.Error(), "already exists"):
			return damaged("it has what version %d brings, and says that it has version %d", version+i+1, version)
		case err != nil:
			return fmt.Errorf("bring it to version %d: %w", version+i+1, err)
		}
	}
	mark := fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d", applicationID, len(s.schema))
	if _, err := tx.ExecContext(ctx, mark); err != nil {
		return err
	}
	return tx.Commit()
}

// inspect reports whether the file is a database that this dray can use, with an unfitError if not, and whether it is empty. It changes
// nothing, and does not check the version.
func (s *Store) inspect(ctx context.Context, thoroughly bool) (empty bool, err error) {
	db, err := sql.Open("sqlite", s.dsn("mode=rw&_busy_timeout=5000"))
	if err != nil {
		return false, err
	}
	defer func() { _ = db.Close() }()
	db.SetMaxOpenConns(1)
	var application, version, tables int
	const query = "SELECT a.application_id, v.user_version, (SELECT count(*) FROM sqlite_schema) FROM pragma_application_id a, pragma_user_version v"
	switch err := db.QueryRowContext(ctx, query).Scan(&application, &version, &tables); {
	case code(err) == codeError: // SQLite has no code of its own for an unknown format in the header
		return false, damaged("it is damaged: %w", err)
	case err != nil:
		return false, unfit(err)
	}
	if err := s.writable(); err != nil {
		return false, err
	}
	switch {
	case version == 0 && tables == 0:
		return true, nil
	case application != applicationID || version < 1:
		return false, damaged("it is a database, but not dray's")
	case !thoroughly:
		return false, nil
	}
	var verdict string
	if err := db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
		return false, unfit(err)
	}
	if verdict != "ok" {
		return false, damaged("it is damaged: %s", verdict)
	}
	return false, nil
}

// writable reports whether SQLite can write to the file: if it does not know the write version in the header
// (https://www.sqlite.org/fileformat.html §1.3.3), it opens the file read-only, and fails at the first write.
func (s *Store) writable() error {
	f, err := os.Open(s.path)
	if err != nil {
		return err
	}
	defer f.Close()
	var version [1]byte
	if n, err := f.ReadAt(version[:], 18); n == 1 && version[0] > 2 {
		return damaged("it is damaged: its write version is %d", version[0])
	} else if n == 0 && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// unfit distinguishes errors of the file's content from temporary ones.
func unfit(err error) error {
	if isDamage(err) {
		return &unfitError{cause: err}
	}
	return err
}
