package main

import (
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/webhook"
)

// countsOf counts the actions of a run by how they ended.
func countsOf(r mirror.Result) webhook.Counts {
	var c webhook.Counts
	for _, out := range r.Outcomes {
		switch out.Status {
		case mirror.Kept:
			c.Kept++
		case mirror.Imported:
			c.Imported++
		case mirror.Refused:
			c.Refused++
		case mirror.Failed, mirror.NothingChosen, mirror.Absent:
			c.Failed++
		case mirror.Deferred:
			c.Deferred++
		}
	}
	return c
}

// explanation is why an outcome is not what was wanted; empty where it is.
func explanation(out mirror.Outcome) string {
	if out.Err != nil {
		return out.Err.Error()
	}
	if out.Status == mirror.Refused {
		return out.Detail
	}
	return ""
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
