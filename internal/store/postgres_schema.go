package store

// ledgerSchema migrates each version of a ledger to the next, and only adds; the version is their number. A released element never changes.
// The tables are those of the SQLite store. The function now is the clock; it is stable, so that what is compared with it is found by indexes.
var ledgerSchema = []string{ledgerVersion1, ledgerVersion2, ledgerVersion3, ledgerVersion4, ledgerVersion5, ledgerVersion6, ledgerVersion7}

// ledgerMeta is where the version is.
const ledgerMeta = `
CREATE TABLE IF NOT EXISTS dray.meta (
	id            INTEGER PRIMARY KEY CHECK (id = 1),
	version       INTEGER NOT NULL,
	readable_from INTEGER NOT NULL
)`

const ledgerVersion1 = `
CREATE OR REPLACE FUNCTION dray.now() RETURNS BIGINT LANGUAGE sql STABLE AS 'SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint';
CREATE TABLE IF NOT EXISTS dray.writes (
	token   BIGINT PRIMARY KEY,
	at      BIGINT NOT NULL,
	written BOOLEAN NOT NULL
);
CREATE TABLE IF NOT EXISTS dray.manifests (
	digest     TEXT PRIMARY KEY,
	media_type TEXT NOT NULL,
	raw        BYTEA NOT NULL,
	used       BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS manifests_used ON dray.manifests (used);
CREATE TABLE IF NOT EXISTS dray.repositories (
	id        BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	registry  TEXT NOT NULL,
	path      TEXT NOT NULL,
	committed BOOLEAN NOT NULL,
	used      BIGINT NOT NULL,
	UNIQUE (registry, path)
);
CREATE TABLE IF NOT EXISTS dray.blobs (
	repository BIGINT NOT NULL REFERENCES dray.repositories (id) ON DELETE CASCADE,
	digest     TEXT NOT NULL,
	used       BIGINT NOT NULL,
	PRIMARY KEY (repository, digest)
);
CREATE INDEX IF NOT EXISTS blobs_digest ON dray.blobs (digest, used);
CREATE TABLE IF NOT EXISTS dray.referrers (
	repository BIGINT NOT NULL REFERENCES dray.repositories (id) ON DELETE CASCADE,
	digest     TEXT NOT NULL,
	seen       BIGINT NOT NULL,
	used       BIGINT NOT NULL,
	PRIMARY KEY (repository, digest)
);
CREATE TABLE IF NOT EXISTS dray.selections (
	source    TEXT NOT NULL,
	platforms TEXT NOT NULL,
	target    TEXT NOT NULL,
	used      BIGINT NOT NULL,
	PRIMARY KEY (source, platforms)
);
CREATE TABLE IF NOT EXISTS dray.jobs (
	id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	name        TEXT NOT NULL UNIQUE,
	fingerprint TEXT NOT NULL,
	anchor      BIGINT NOT NULL,
	started     BIGINT NOT NULL,
	ended       BIGINT NOT NULL,
	succeeded   BIGINT NOT NULL,
	failures    BIGINT NOT NULL,
	seen        BIGINT NOT NULL,
	deferred    BIGINT NOT NULL,
	given       BIGINT NOT NULL,
	vain        BIGINT NOT NULL,
	due         BIGINT NOT NULL,
	due_cause   TEXT NOT NULL,
	planned     TEXT NOT NULL,
	asked       BOOLEAN NOT NULL,
	begun       BIGINT NOT NULL,
	begun_cause TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS dray.runs (
	id            BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	job           BIGINT NOT NULL REFERENCES dray.jobs (id) ON DELETE CASCADE,
	cause         TEXT NOT NULL,
	started       BIGINT NOT NULL,
	ended         BIGINT NOT NULL,
	keep          BIGINT NOT NULL,
	import        BIGINT NOT NULL,
	refuse        BIGINT NOT NULL,
	failed        BIGINT NOT NULL,
	deferred      BIGINT NOT NULL,
	pulls         BIGINT NOT NULL,
	bytes         BIGINT NOT NULL,
	bytes_mounted BIGINT NOT NULL,
	quiet         BOOLEAN NOT NULL,
	repeats       BIGINT NOT NULL,
	since         BIGINT NOT NULL,
	more          BIGINT NOT NULL,
	size          BIGINT NOT NULL,
	error         TEXT NOT NULL,
	outcome       TEXT NOT NULL,
	unverified    BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS runs_job ON dray.runs (job, id);
CREATE TABLE IF NOT EXISTS dray.outcomes (
	run           BIGINT NOT NULL REFERENCES dray.runs (id) ON DELETE CASCADE,
	position      BIGINT NOT NULL,
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
	pulls         BIGINT NOT NULL,
	bytes         BIGINT NOT NULL,
	bytes_mounted BIGINT NOT NULL,
	unverified    BOOLEAN NOT NULL,
	duration      BIGINT NOT NULL,
	retry_at      BIGINT NOT NULL,
	PRIMARY KEY (run, position)
);
CREATE TABLE IF NOT EXISTS dray.checks (
	id INTEGER PRIMARY KEY CHECK (id = 1),
	at BIGINT NOT NULL
);
CREATE TABLE IF NOT EXISTS dray.budgets (
	name  TEXT PRIMARY KEY,
	state BYTEA NOT NULL,
	used  BIGINT NOT NULL
);
CREATE TABLE IF NOT EXISTS dray.operations (
	name  TEXT PRIMARY KEY,
	state BYTEA NOT NULL,
	used  BIGINT NOT NULL
);
`

// Members are processes that work on jobs, alive until they expire. inforce is the generation of jobs that decides: it has the jobs that are
// not removed, each with the fingerprint in planned. A job is claimed while it has a member, by a token; urgent: it goes before all others.
const ledgerVersion2 = `
CREATE TABLE IF NOT EXISTS dray.members (
	id         BIGINT PRIMARY KEY,
	name       TEXT NOT NULL,
	dray       TEXT NOT NULL,
	guest      BOOLEAN NOT NULL,
	joined     BIGINT NOT NULL,
	expires    BIGINT NOT NULL,
	generation TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS dray.inforce (
	id     INTEGER PRIMARY KEY CHECK (id = 1),
	hash   TEXT NOT NULL,
	number BIGINT NOT NULL,
	taken  BIGINT NOT NULL
);
CREATE SEQUENCE IF NOT EXISTS dray.tokens;
ALTER TABLE dray.jobs
	ADD COLUMN IF NOT EXISTS priority   BIGINT NOT NULL DEFAULT 0,
	ADD COLUMN IF NOT EXISTS registries TEXT NOT NULL DEFAULT '',
	ADD COLUMN IF NOT EXISTS removed    BOOLEAN NOT NULL DEFAULT true,
	ADD COLUMN IF NOT EXISTS urgent     BOOLEAN NOT NULL DEFAULT false,
	ADD COLUMN IF NOT EXISTS member     BIGINT,
	ADD COLUMN IF NOT EXISTS token      BIGINT NOT NULL DEFAULT 0;
CREATE INDEX IF NOT EXISTS jobs_next ON dray.jobs (urgent DESC, priority DESC, due) WHERE member IS NULL AND NOT removed AND due > 0;
CREATE INDEX IF NOT EXISTS jobs_due ON dray.jobs (due) WHERE member IS NULL AND NOT removed AND due > 0;
CREATE INDEX IF NOT EXISTS jobs_member ON dray.jobs (member) WHERE member IS NOT NULL;
`

// Tags that are to be looked at by themselves, from look_at and again_at on, zero for none; claimed are those of the run under way, none if that
// looks at all. next is when a job runs next, for all tags or for some.
const ledgerVersion3 = `
ALTER TABLE dray.jobs
	ADD COLUMN IF NOT EXISTS looks    JSONB NOT NULL DEFAULT '[]',
	ADD COLUMN IF NOT EXISTS look_at  BIGINT NOT NULL DEFAULT 0,
	ADD COLUMN IF NOT EXISTS again    JSONB NOT NULL DEFAULT '[]',
	ADD COLUMN IF NOT EXISTS again_at BIGINT NOT NULL DEFAULT 0,
	ADD COLUMN IF NOT EXISTS tried    BIGINT NOT NULL DEFAULT 0,
	ADD COLUMN IF NOT EXISTS claimed  JSONB NOT NULL DEFAULT '[]',
	ADD COLUMN IF NOT EXISTS next     BIGINT NOT NULL GENERATED ALWAYS AS (coalesce(least(nullif(due, 0), nullif(look_at, 0), nullif(again_at, 0)), 0)) STORED;
DROP INDEX IF EXISTS dray.jobs_next, dray.jobs_due;
CREATE INDEX jobs_next ON dray.jobs (urgent DESC, priority DESC, next) WHERE member IS NULL AND NOT removed AND next > 0;
CREATE INDEX jobs_due ON dray.jobs (next) WHERE member IS NULL AND NOT removed AND next > 0;
`

// The pauses in force, by the job's name; that of all jobs has the empty one. anyway: a run was asked for since the pause began.
const ledgerVersion4 = `
CREATE TABLE IF NOT EXISTS dray.pauses (
	name   TEXT PRIMARY KEY,
	since  BIGINT NOT NULL,
	who    TEXT NOT NULL,
	reason TEXT NOT NULL
);
ALTER TABLE dray.jobs ADD COLUMN IF NOT EXISTS anyway BOOLEAN NOT NULL DEFAULT false;
`

// What one member alone may do now. The table is unlogged: a crash of the database empties it, which costs something done twice.
const ledgerVersion5 = `
CREATE UNLOGGED TABLE IF NOT EXISTS dray.holds (
	key    TEXT PRIMARY KEY,
	member BIGINT NOT NULL,
	taken  BIGINT NOT NULL
);
`

// Imports of runs that several members make. run is the token of the claim of the job whose run it is. A part that has a member is being made, since
// taken; one that has imports is still to be made, and outcomes are those of imports that it had. tries counts how often it was taken, and losses how
// often its member was gone before the end.
const ledgerVersion6 = `
CREATE TABLE IF NOT EXISTS dray.parts (
	id          BIGINT PRIMARY KEY,
	run         BIGINT NOT NULL,
	job         TEXT NOT NULL,
	fingerprint TEXT NOT NULL,
	position    BIGINT NOT NULL,
	put         BIGINT NOT NULL,
	imports     JSONB NOT NULL,
	outcomes    JSONB NOT NULL DEFAULT '[]',
	member      BIGINT,
	token       BIGINT NOT NULL DEFAULT 0,
	taken       BIGINT NOT NULL DEFAULT 0,
	tries       BIGINT NOT NULL DEFAULT 0,
	losses      BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS parts_free ON dray.parts (position) WHERE member IS NULL AND imports <> '[]';
CREATE INDEX IF NOT EXISTS parts_member ON dray.parts (member) WHERE member IS NOT NULL;
CREATE INDEX IF NOT EXISTS parts_job ON dray.parts (job);
`

// The clock of a statement is that of its snapshot, or almost. A statement that was slow compared what it had read at its beginning with the time of its
// end: it took members for dead whose renewals it did not see.
const ledgerVersion7 = `
CREATE OR REPLACE FUNCTION dray.now() RETURNS BIGINT LANGUAGE sql STABLE AS 'SELECT floor(extract(epoch FROM statement_timestamp()) * 1000)::bigint';
`
