//go:build !race

package store

// oneIn has all rounds of a long test run.
const oneIn = 1
