package watch

import "time"

// settle says when files that were touched have been left alone for long enough. It is due when one of its channels fires.
type settle struct {
	quiet, longest time.Duration
	// left fires when there was no touch for quiet, enough when the first touch is longest ago.
	left, enough *time.Timer
	pending      bool
}

func newSettle(quiet, longest time.Duration) *settle {
	s := &settle{quiet: quiet, longest: longest, left: time.NewTimer(quiet), enough: time.NewTimer(longest)}
	s.done()
	return s
}

// touch tells whether it is the first one since the last done.
func (s *settle) touch() (first bool) {
	first = !s.pending
	s.pending = true
	s.left.Reset(s.quiet)
	if first {
		s.enough.Reset(s.longest)
	}
	return first
}

// done begins anew; neither channel fires before the next touch.
func (s *settle) done() {
	s.pending = false
	s.left.Stop()
	s.enough.Stop()
}
