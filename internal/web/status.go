package web

import (
	"time"

	"github.com/draysync/dray/internal/record"
)

// documentVersion is raised by a change that breaks a program that reads the documents.
const documentVersion = 1

// History is the document of GET /api/v1/history: runs that have ended, the newest first.
type History struct {
	Version int             `json:"version"`
	Runs    []record.JobRun `json:"runs"`
}

// Jobs is the document of GET /api/v1/jobs.
type Jobs struct {
	Version int                `json:"version"`
	Now     time.Time          `json:"now"`
	Jobs    []record.JobStatus `json:"jobs"`
}
