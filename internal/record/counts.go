package record

// Counts is how many actions ended in which way, and their cost. Each action counts once: one that failed or was deferred is in Failed or
// Deferred, not under its intended operation.
type Counts struct {
	Keep     int   `json:"keep"`
	Import   int   `json:"import"`
	Refuse   int   `json:"refuse"`
	Failed   int   `json:"failed"`
	Deferred int   `json:"deferred"`
	Pulls    int   `json:"pulls"`
	Bytes    int64 `json:"bytes"`
	Mounted  int64 `json:"bytes_mounted"`
	// Unverified counts the actions whose target dray could not read.
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

// Plus returns the sum with another run's counts.
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

// Result returns the result of a run that was neither cut off nor failed altogether.
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
	// Usual is set for counts that are shown even if 0.
	Usual bool
}

// Parts returns the counts of actions in display order.
func (c Counts) Parts() []Part {
	return []Part{
		{c.Import, "imported", true}, {c.Keep, "unchanged", true}, {c.Refuse, "refused", true}, {c.Failed, "failed", true},
		{c.Deferred, "deferred", false}, {c.Unverified, "unverified", false},
	}
}
