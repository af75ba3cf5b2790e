// Package result holds what draybench measured: single runs, their medians, tables of them, and the limits that dray has
// to keep.
package result
