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

-- content
INSERT INTO manifests VALUES ('sha256:553f121d1ecef2a1742c9c2c999380c992afeeaee2832713730af937ae382aa0', 'application/vnd.oci.image.manifest.v1+json', x'313a78', 1000);
INSERT INTO repositories VALUES (1, 'target.test:5000', 'a', 1, 1000);
INSERT INTO blobs VALUES (1, 'sha256:6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b', 1000);
INSERT INTO referrers VALUES (1, 'sha256:6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b', 1000, 1000);
INSERT INTO selections VALUES ('sha256:6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b', 'linux/amd64', 'sha256:d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35', 1000);
PRAGMA application_id = 1685217657;
PRAGMA user_version = 1;
