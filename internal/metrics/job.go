package metrics

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/record"
)

// jobs collects the metrics that have the label of a job. For ten thousand jobs, series that the client library keeps would take as much
// memory as the jobs themselves.
type jobs struct {
	nextRun, lastSuccess, deadline, failures, paused, actions, imports *prometheus.Desc

	mu sync.Mutex
	// known are those that have been scheduled and not been removed.
	known map[string]*job
}

// job is how a job stands, and what its runs have done.
type job struct {
	due, lastSuccess, deadline time.Time
	failures                   int
	paused                     bool
	actions                    []count[action]
	imports                    []count[imported]
}

type action struct {
	op     diff.Op
	reason diff.Reason
}

type imported struct {
	engine string
	status record.Status
}

// count is how often something has happened. A job has a few of them: they are cheaper as a list than as a map.
type count[K comparable] struct {
	key K
	n   int
}

func add[K comparable](counts []count[K], key K, n int) []count[K] {
	if i := slices.IndexFunc(counts, func(c count[K]) bool { return c.key == key }); i >= 0 {
		counts[i].n += n
		return counts
	}
	return append(counts, count[K]{key, n})
}

// newJobs describes them. The label mapping has the value of the label job: Prometheus has a label job of its own, and renames the one
// that it scrapes to exported_job unless honor_labels is set.
func newJobs() *jobs {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, append([]string{"job", "mapping"}, labels...), nil)
	}
	return &jobs{
		known:       map[string]*job{},
		nextRun:     desc("dray_job_next_run_timestamp_seconds", "When the job is due; what it was due at, while it runs. Absent where it is never due."),
		lastSuccess: desc("dray_job_last_success_timestamp_seconds", "When the last run without a failure ended. Absent where there was none."),
		deadline: desc("dray_job_success_deadline_timestamp_seconds",
			"By when the schedule lets one expect the next success: when the job was first due after its last one, or after it became known. Absent for a job without schedule."),
		failures: desc("dray_job_consecutive_failures", "Runs with a failure since the last one without."),
		paused:   desc("dray_job_paused", "1 while the job is paused, by itself or with all jobs; else absent."),
		actions:  desc("dray_actions_total", "Decisions for a tag, by what to do and why.", "op", "reason"),
		imports:  desc("dray_imports_total", "Imports begun or put off, by how they ended.", "engine", "outcome"),
	}
}

// Describe implements prometheus.Collector.
func (j *jobs) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{j.nextRun, j.lastSuccess, j.deadline, j.failures, j.paused, j.actions, j.imports} {
		out <- d
	}
}

// Collect implements prometheus.Collector. It holds no lock while it sends.
func (j *jobs) Collect(out chan<- prometheus.Metric) {
	j.mu.Lock()
	names := slices.Collect(maps.Keys(j.known))
	j.mu.Unlock()
	for _, name := range names {
		for _, s := range j.samples(name) {
			out <- s
		}
	}
}

// samples are those of one job.
func (j *jobs) samples(name string) []sample {
	j.mu.Lock()
	defer j.mu.Unlock()
	own := j.known[name]
	if own == nil { // removed meanwhile
		return nil
	}
	labels := []*dto.LabelPair{pair("job", name), pair("mapping", name)}
	list := make([]sample, 0, 5+len(own.actions)+len(own.imports))
	gauge := func(desc *prometheus.Desc, value float64) {
		list = append(list, sample{desc: desc, labels: labels, gauge: &dto.Gauge{Value: &value}})
	}
	times := func(desc *prometheus.Desc, at time.Time) {
		if !at.IsZero() {
			gauge(desc, seconds(at))
		}
	}
	counter := func(desc *prometheus.Desc, n int, labels ...*dto.LabelPair) {
		value := float64(n)
		list = append(list, sample{desc: desc, labels: labels, counter: &dto.Counter{Value: &value}})
	}
	times(j.nextRun, own.due)
	times(j.lastSuccess, own.lastSuccess)
	times(j.deadline, own.deadline)
	gauge(j.failures, float64(own.failures))
	if own.paused {
		gauge(j.paused, 1)
	}
	for _, c := range own.actions {
		counter(j.actions, c.n, labels[0], labels[1], pair("op", string(c.key.op)), pair("reason", string(c.key.reason)))
	}
	for _, c := range own.imports {
		counter(j.imports, c.n, pair("engine", c.key.engine), labels[0], labels[1], pair("outcome", string(c.key.status)))
	}
	return list
}

// sample is a series at the moment of a scrape. Its labels are sorted by name, and the samples of one job share theirs.
type sample struct {
	desc    *prometheus.Desc
	labels  []*dto.LabelPair
	gauge   *dto.Gauge
	counter *dto.Counter
}

// Desc implements prometheus.Metric.
func (s sample) Desc() *prometheus.Desc { return s.desc }

// Write implements prometheus.Metric.
func (s sample) Write(out *dto.Metric) error {
	out.Label, out.Gauge, out.Counter = s.labels, s.gauge, s.counter
	return nil
}

func pair(name, value string) *dto.LabelPair { return &dto.LabelPair{Name: &name, Value: &value} }

// Scheduled notes how a job stands, and has its series begin where it was not known. A time that is zero has no series.
func (m *Metrics) Scheduled(status record.JobStatus) {
	name := label(status.Job)
	m.jobs.mu.Lock()
	defer m.jobs.mu.Unlock()
	own := m.jobs.known[name]
	if own == nil {
		own = &job{}
		m.jobs.known[name] = own
	}
	own.due, own.lastSuccess, own.deadline = status.Due, status.LastSuccess, status.Deadline
	own.failures, own.paused = status.Failures, status.Paused != nil
}

// Ran counts what a run did. Of a job that is not scheduled, as that of a run which outlasts its job, only what has no label of the job
// is counted.
func (m *Metrics) Ran(result mirror.Result) {
	for i := range result.Outcomes {
		m.countImport(&result.Outcomes[i])
	}
	m.jobs.mu.Lock()
	defer m.jobs.mu.Unlock()
	own := m.jobs.known[label(result.Job)]
	if own == nil {
		return
	}
	for i := range result.Outcomes {
		out := &result.Outcomes[i]
		own.actions = add(own.actions, action{out.Op, out.Reason}, 1)
		if out.Engine != "" {
			own.imports = add(own.imports, imported{out.Engine, out.Status}, 1)
		}
	}
	for _, k := range result.Kept {
		own.actions = add(own.actions, action{diff.Keep, k.Reason}, k.Count)
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

// Removed ends all series of a job. One of that name which is scheduled later begins anew.
func (m *Metrics) Removed(job string) {
	m.jobs.mu.Lock()
	defer m.jobs.mu.Unlock()
	delete(m.jobs.known, label(job))
}

// label makes text that the client library takes: it panics where a label's value is not UTF-8.
func label(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }
