// Package fulltest decides how much the tests run: DRAY_TEST_FULL=1, which .ci/run sets, asks for all of it. Without it no test starts a
// program of somebody else, be it installed or not, and the longest tests play some of their rounds.
package fulltest

import (
	"os"
	"os/exec"
	"strconv"
	"testing"
)

const variable = "DRAY_TEST_FULL"

// Enabled reports whether everything is to be tested.
func Enabled() bool { return os.Getenv(variable) == "1" }

// Require skips a test that is long, or that needs more than Go, unless everything is to be tested.
func Require(tb testing.TB) {
	tb.Helper()
	if !Enabled() {
		tb.Skip("set " + variable + "=1 to run this test")
	}
}

// Long skips, with -short, a test that takes seconds.
func Long(tb testing.TB) {
	tb.Helper()
	if testing.Short() {
		tb.Skip("takes seconds; run it without -short")
	}
}

// Program returns the path of a program. install says how it comes onto a machine. Where everything is to be tested and the program is
// missing, the test fails, so that a CI without it cannot be green.
func Program(tb testing.TB, name, install string) string {
	tb.Helper()
	Require(tb)
	path, err := exec.LookPath(name)
	if err != nil {
		tb.Fatalf("%v: install %s", err, install)
	}
	return path
}

// AllRounds reports whether a test is to play all of its rounds: where everything is to be tested, but not with the race detector, which finds
// in some what it finds in all. CI runs such tests with it and without.
func AllRounds() bool { return Enabled() && !withRaceDetector }

// Rounds is how often a test repeats what it does: some times, or all of them where AllRounds says so, and a fifth of some with -short.
// DRAY_TEST_ROUNDS asks for another number, for whoever looks for a rare failure.
func Rounds(some, all uint64) uint64 {
	asked, err := strconv.ParseUint(os.Getenv("DRAY_TEST_ROUNDS"), 10, 64)
	switch {
	case err == nil:
		return asked
	case AllRounds():
		return all
	case testing.Short():
		return (some + 4) / 5
	}
	return some
}
