package web

import (
	"fmt"

	"github.com/draysync/dray/internal/spelling"
)

// maxNearest is how many names are named to somebody who asks for a job that is not there.
const maxNearest = 3

// UnknownJobError says that there is no job of that name.
type UnknownJobError struct {
	Job string
	// Nearest are names that may have been meant, the nearest first.
	Nearest []string
}

// UnknownJob returns the error about a job that is none of those that there are.
func UnknownJob(job string, names []string) *UnknownJobError {
	return &UnknownJobError{Job: job, Nearest: spelling.Nearest(job, names, maxNearest)}
}

func (e *UnknownJobError) Error() string {
	return fmt.Sprintf("there is no job %q%s", e.Job, spelling.Suggestion(e.Nearest))
}
