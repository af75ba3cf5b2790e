package store

import (
	"strings"

	"github.com/draysync/dray/internal/record"
)

// countColumns are the columns of a run's counts, in the order of countFields.
const countColumns = "keep, import, refuse, failed, deferred, pulls, bytes, bytes_mounted, unverified"

// countFields returns pointers, for reading and for writing.
func countFields(c *record.Counts) []any {
	return []any{&c.Keep, &c.Import, &c.Refuse, &c.Failed, &c.Deferred, &c.Pulls, &c.Bytes, &c.Mounted, &c.Unverified}
}

// columnsOf returns the columns of a table under its alias.
func columnsOf(alias, columns string) string {
	return alias + "." + strings.ReplaceAll(columns, ", ", ", "+alias+".")
}

// marks returns the parameters for columns.
func marks(columns string) string {
	return "?" + strings.Repeat(", ?", strings.Count(columns, ","))
}
