package web

import (
	"context"
	"time"

	"github.com/draysync/dray/internal/record"
)

// memoLasts is how long a listener to a job's page is shown the same history, unless the job has ended a run since.
const memoLasts = 5 * time.Second

// memo is what one page was last made of, and is costly to get.
type memo struct {
	runs     []record.JobRun
	at, last time.Time

	generation int
	job        record.JobConfig
	known      bool
}

// history returns the newest runs of a job.
func (m *memo) history(ctx context.Context, daemon Daemon, j *record.JobStatus, limit int) ([]record.JobRun, error) {
	if !m.at.IsZero() && time.Since(m.at) < memoLasts && m.last.Equal(ended(j)) {
		return m.runs, nil
	}
	runs, err := daemon.History(ctx, j.Job, limit)
	if err != nil {
		return nil, err
	}
	for i := range runs {
		completeRun(&runs[i])
	}
	m.runs, m.at, m.last = runs, time.Now(), ended(j)
	return runs, nil
}

// config returns what the config says about a job. Its next times are read anew once the first has passed.
func (m *memo) config(details Details, j *record.JobStatus, generation int) (record.JobConfig, bool) {
	if m.generation != generation || len(m.job.Next) > 0 && !m.job.Next[0].After(time.Now()) {
		m.job, m.known = details.Job(j)
		m.generation = generation
	}
	return m.job, m.known
}
