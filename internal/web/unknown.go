package web

import (
	"fmt"
)

// maxNearest is how many names are named to somebody who asks for a job that is not there.
const maxNearest = 3

// UnknownJobError says that there is no job of that name.
type UnknownJobError struct {
	Job string
	// Nearest are names that may have been meant, the nearest first.
	Nearest []string
}

func (e *UnknownJobError) Error() string {
	text := fmt.Sprintf("there is no job %q", e.Job)
	for i, name := range e.Nearest {
		switch i {
		case 0:
			text += "; did you mean "
		case len(e.Nearest) - 1:
			text += " or "
		default:
			text += ", "
		}
		text += fmt.Sprintf("%q", name)
	}
	if len(e.Nearest) > 0 {
		text += "?"
	}
	return text
}
