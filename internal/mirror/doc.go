// Package mirror runs jobs: it observes both sides, lets diff decide, has an engine import what changed, and records how each action ended.
// It declares the interfaces that it needs; registries, engines and reports implement them.
package mirror
