//go:build race

package ratelimit_test

// oneIn is how few of the rounds of a long test run under the race detector, where SQLite is ten times slower. CI runs all of them without it.
const oneIn = 6
