// Package bench measures tools in turn: each run has a target of its own, empty at first, and goes through counting
// proxies.
package bench
