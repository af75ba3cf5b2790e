// Package store remembers across restarts what spares an import its requests: manifests, where blobs are, what an index became
// once only some of its platforms were kept, and when referrers were last looked at. It is a memory and not the truth: without
// it, or after it was lost, dray is slower once and never wrong.
//
// It also remembers the jobs of the daemon: the state of each, from which the next start goes on, and their last runs with what
// they did. Equal runs that had nothing to do, one after the other, are one row; [Store.Prune] says how long the others stay.
//
// The memory is one SQLite database in a directory on a local disk, which several processes may use at once: readers never wait,
// writers take turns. Beside it lie dray.db.lock, which processes hold while they open it, and dray.db.users, which they hold as
// long as they use it; both are empty. OCI image layouts are not remembered: asking a disk costs nothing, and a relative path
// means something else in another working directory.
package store
