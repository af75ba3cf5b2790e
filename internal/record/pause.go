package record

import "time"

// Pause is in force while a job starts no run by itself. Runs that someone asks for begin anyway.
type Pause struct {
	Since time.Time `json:"since"`
	// By is who asked for it, as far as that is known, and Reason what they said.
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`
	// All is set if this is not the job's own pause but that of all jobs.
	All bool `json:"all,omitempty"`
}
