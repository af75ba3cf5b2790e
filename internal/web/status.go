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

// Paused is the document of an answer to a pause or a resume.
type Paused struct {
	Version int `json:"version"`
	// Job is empty where all jobs are meant.
	Job string `json:"job"`
	// Paused is the pause that now holds, nil for none; after the resume of a job that of all jobs, if that is in force.
	Paused *record.Pause `json:"paused"`
	// Jobs are those that are still paused, each by itself, after the resume of all jobs.
	Jobs []string `json:"jobs"`
}
