// Package store remembers across restarts what saves an import requests: manifests, the locations of blobs, indexes reduced to some
// platforms, and when referrers were last read. It is a cache: without it dray is slower, never wrong.
//
// It also remembers the daemon's jobs: the state of each, from which the next start continues, and their last runs with what they did.
// Equal runs in a row that had nothing to do are one row; [Store.Prune] says how long others stay.
//
// The store is one SQLite database in a directory on a local disk, which several processes may use at once: readers never wait, writers
// take turns. Beside it are two empty files: dray.db.lock, which processes lock while they open the store, and dray.db.users, which they
// lock while they use it. OCI image layouts are not remembered: asking a disk costs nothing, and a relative path depends on the working
// directory.
package store
