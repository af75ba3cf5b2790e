// Package daemon runs jobs when they are due, reloads its config when that changes, and stops cleanly.
//
// One goroutine, that of [Daemon.Run], owns all state and decides; whatever takes time (a run, a build of a new generation) goes on
// beside it and reports to it. So there is no lock to hold and no order of locks to keep, and the goroutine's own pulse is what
// the service manager's watchdog is told.
package daemon
