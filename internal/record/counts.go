package record

// Counts is how many actions ended in which way, and what they took. An action counts once: one that failed or was deferred is in Failed or
// Deferred, not under the operation that it should have been.
type Counts struct {
	Keep     int   `json:"keep"`
	Import   int   `json:"import"`
	Refuse   int   `json:"refuse"`
	Failed   int   `json:"failed"`
	Deferred int   `json:"deferred"`
	Pulls    int   `json:"pulls"`
	Bytes    int64 `json:"bytes"`
	Mounted  int64 `json:"bytes_mounted"`
	// Unverified are those of all whose target could not be looked at.
	Unverified int `json:"unverified,omitempty"`
}

// Add counts an action that ended with a status.
func (c *Counts) Add(s Status) {
	switch s {
	case Kept:
		c.Keep++
	case Imported:
		c.Import++
	case Refused:
		c.Refuse++
	case Failed, NothingChosen, Absent:
		c.Failed++
	case Deferred:
		c.Deferred++
	}
}

// Plus adds those of another run.
func (c *Counts) Plus(other Counts) {
	c.Keep += other.Keep
	c.Import += other.Import
	c.Refuse += other.Refuse
	c.Failed += other.Failed
	c.Deferred += other.Deferred
	c.Pulls += other.Pulls
	c.Bytes += other.Bytes
	c.Mounted += other.Mounted
	c.Unverified += other.Unverified
}

// Result is how a run ended that was neither cut off nor failed as a whole.
func (c Counts) Result() Result {
	switch {
	case c.Failed > 0 && c.Keep+c.Import == 0:
		return RunFailed
	case c.Failed > 0:
		return RunPartly
	case c.Deferred > 0:
		return RunDeferred
	}
	return RunOK
}

// Part is one of the counts, with its word.
type Part struct {
	Count int
	Word  string
	// Usual ones are worth saying even where they are 0.
	Usual bool
}

// Parts returns the counts of actions in the order in which they are read.
func (c Counts) Parts() []Part {
	return []Part{
		{c.Import, "imported", true}, {c.Keep, "unchanged", true}, {c.Refuse, "refused", true}, {c.Failed, "failed", true},
		{c.Deferred, "deferred", false}, {c.Unverified, "unverified", false},
	}
}
