//go:build !race

package ratelimit_test

// oneIn has all rounds of a long test run.
const oneIn = 1
