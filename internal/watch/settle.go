package watch

import "time"

// settle tells when touched files have been quiet for long enough: one of its channels then fires.
type settle struct {
	quiet, longest time.Duration
	// left fires after a quiet time without touches, enough when the first touch is too long ago.
	left, enough *time.Timer
	pending      bool
	// touched is the time of the last touch; extended is set once late has started over.
	touched  time.Time
	extended bool
}

func newSettle(quiet, longest time.Duration) *settle {
	s := &settle{quiet: quiet, longest: longest, left: time.NewTimer(quiet), enough: time.NewTimer(longest)}
	s.done()
	return s
}

// touch reports whether it is the first one since the last done.
func (s *settle) touch() (first bool) {
	first = !s.pending
	if !first && s.late() {
		return false
	}
	s.pending, s.touched = true, time.Now()
	s.left.Reset(s.quiet)
	if first {
		s.enough.Reset(s.longest)
	}
	return first
}

// late reports whether the quiet time ended so long ago, unseen, that the process may have stood still, and with it whoever writes the files. Then
// it starts over, once a burst.
func (s *settle) late() bool {
	if s.extended || time.Since(s.touched) < 2*s.quiet {
		return false
	}
	s.done()
	s.touch()
	s.extended = true
	return true
}

// done starts over; neither channel fires before the next touch.
func (s *settle) done() {
	s.pending, s.extended = false, false
	s.left.Stop()
	s.enough.Stop()
}
