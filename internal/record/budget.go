package record

import "time"

// Budget is what a registry allows an account, or the address of this machine, to pull in a window of time.
type Budget struct {
	Registry string `json:"registry"`
	// Account is the entry of the config that signs in, or the registry itself.
	Account string `json:"account"`
	// Limit and Remaining are -1 where they are not known.
	Limit     int `json:"limit"`
	Remaining int `json:"remaining"`
	// Reserved are pulls under way or kept for what has begun, and Keep those that are left to others.
	Reserved int     `json:"reserved"`
	Keep     int     `json:"keep"`
	Window   Seconds `json:"window_seconds"`
	// RetryAt is when what does not fit now may be tried again; absent where there is something left.
	RetryAt time.Time `json:"retry_at,omitzero"`
	// Unapplied is set where a credential is sent, and the registry counts the address all the same.
	Unapplied bool `json:"-"`
}
