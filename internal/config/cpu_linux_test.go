package config

import (
	"runtime"
	"syscall"
	"time"
)

// worked returns how long f works: the time that its thread has a processor, which does not depend on what else the machine does.
func worked(f func()) time.Duration {
	const thread = 1 // RUSAGE_THREAD
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, after syscall.Rusage
	_ = syscall.Getrusage(thread, &before) // it cannot fail
	f()
	_ = syscall.Getrusage(thread, &after) // as above
	return time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
}
