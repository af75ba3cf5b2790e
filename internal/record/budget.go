package record

import "time"

// Budget is the number of pulls that a registry allows an account, or this machine's address, in a time window.
type Budget struct {
	Registry string `json:"registry"`
	// Account is the entry of the config that signs in, or the registry itself.
	Account string `json:"account"`
	// Limit and Remaining are -1 if unknown.
	Limit     int `json:"limit"`
	Remaining int `json:"remaining"`
	// Reserved are pulls under way or reserved for imports that have begun; Keep are those left to others.
	Reserved int     `json:"reserved"`
	Keep     int     `json:"keep"`
	Window   Seconds `json:"window_seconds"`
	// Spent are the pulls of the last window that dray has made, and Others those that somebody else has.
	Spent  int `json:"spent"`
	Others int `json:"spent_by_others"`
	// FullBy is by when all pulls are back if nobody makes more; absent if nothing is spent, or nothing is known.
	FullBy time.Time `json:"full_by,omitzero"`
	// RetryAt is when to try again what does not fit now; absent if something is left.
	RetryAt time.Time `json:"retry_at,omitzero"`
	// Unapplied is set if the registry counts by address although a credential is sent.
	Unapplied bool `json:"-"`
	// Levels are what was known to be spent at times within the last window, the oldest first; there are at most 49.
	Levels []BudgetLevel `json:"-"`
}

// BudgetLevel is what had been spent of the window before a time, by dray and by others.
type BudgetLevel struct {
	At            time.Time
	Spent, Others int
}
