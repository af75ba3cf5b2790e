package metrics

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/record"
)

// series are the counters of one job. They are kept by their labels because to look for all series of a job takes as long as there are
// series of all jobs.
type series struct {
	actions map[action]prometheus.Counter
	imports map[imported]prometheus.Counter
}

type action struct {
	op     diff.Op
	reason diff.Reason
}

type imported struct {
	engine string
	status record.Status
}

// Scheduled notes how a job stands, and has its series begin where it was not known. A time that is zero has no series.
func (m *Metrics) Scheduled(status record.JobStatus) {
	job := label(status.Job)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.jobs[job] == nil {
		m.jobs[job] = &series{actions: map[action]prometheus.Counter{}, imports: map[imported]prometheus.Counter{}}
	}
	setTime(m.nextRun, job, status.Due)
	setTime(m.lastSuccess, job, status.LastSuccess)
	setTime(m.deadline, job, status.Deadline)
	m.failures.WithLabelValues(job).Set(float64(status.Failures))
	if status.Paused != nil {
		m.paused.WithLabelValues(job).Set(1)
	} else {
		m.paused.DeleteLabelValues(job)
	}
}

func setTime(vec *prometheus.GaugeVec, job string, at time.Time) {
	if at.IsZero() {
		vec.DeleteLabelValues(job)
		return
	}
	vec.WithLabelValues(job).Set(seconds(at))
}

// Ran counts what a run did. Of a job that is not scheduled, as that of a run which outlasts its job, only what has no label of the job
// is counted.
func (m *Metrics) Ran(result mirror.Result) {
	job := label(result.Job)
	m.mu.Lock()
	defer m.mu.Unlock()
	own := m.jobs[job]
	for i := range result.Outcomes {
		out := &result.Outcomes[i]
		m.countImport(out)
		if own == nil {
			continue
		}
		m.action(own, job, action{out.Op, out.Reason}).Inc()
		if out.Engine != "" {
			m.imported(own, job, imported{out.Engine, out.Status}).Inc()
		}
	}
	for _, k := range result.Kept {
		if own != nil {
			m.action(own, job, action{diff.Keep, k.Reason}).Add(float64(k.Count))
		}
	}
}

// countImport counts what has no label of a job. Bytes also move where nothing was to import and no engine is named: those of what has
// come to refer to an image that is kept.
func (m *Metrics) countImport(out *mirror.Outcome) {
	if out.Engine != "" && out.Status == record.Imported {
		m.importDuration.WithLabelValues(out.Engine).Observe(out.Duration.Seconds())
	}
	engine := out.Engine
	if engine == "" {
		engine = other
	}
	if out.Bytes > 0 {
		m.importedBytes.WithLabelValues(engine).Add(float64(out.Bytes))
	}
	if out.Mounted > 0 {
		m.mountedBytes.Add(float64(out.Mounted))
	}
}

func (m *Metrics) action(own *series, job string, key action) prometheus.Counter {
	c, ok := own.actions[key]
	if !ok {
		c = m.actions.WithLabelValues(job, string(key.op), string(key.reason))
		own.actions[key] = c
	}
	return c
}

func (m *Metrics) imported(own *series, job string, key imported) prometheus.Counter {
	c, ok := own.imports[key]
	if !ok {
		c = m.imports.WithLabelValues(job, key.engine, string(key.status))
		own.imports[key] = c
	}
	return c
}

// Removed ends all series of a job. One of that name which is scheduled later begins anew.
func (m *Metrics) Removed(job string) {
	job = label(job)
	m.mu.Lock()
	defer m.mu.Unlock()
	own := m.jobs[job]
	if own == nil {
		return
	}
	delete(m.jobs, job)
	for _, vec := range []*prometheus.GaugeVec{m.nextRun, m.lastSuccess, m.deadline, m.failures, m.paused} {
		vec.DeleteLabelValues(job)
	}
	for key := range own.actions {
		m.actions.DeleteLabelValues(job, string(key.op), string(key.reason))
	}
	for key := range own.imports {
		m.imports.DeleteLabelValues(job, key.engine, string(key.status))
	}
}

// label makes text that the client library takes: it panics where a label's value is not UTF-8.
func label(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }
