// Package peer runs dray and the programs that people use in its place, each at its defaults, on the same work: copies
// between two registries on plain HTTP.
package peer
