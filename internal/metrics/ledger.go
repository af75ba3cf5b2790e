package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Sharing is how this process stands among those that share its work.
type Sharing struct {
	// Replicas counts the processes that are alive, as the ledger last said.
	Replicas int
	// Up says that the ledger can be reached, and Decides that the jobs of this process are those in force.
	Up, Decides bool
}

// Ledger counts what a process asks of the ledger that it shares with others. Its methods may be called from any goroutine.
type Ledger struct {
	requests                 *prometheus.HistogramVec
	takeovers, waited, parts *prometheus.CounterVec
	fenced                   prometheus.Counter
}

// Ledger has the metrics of a process that shares its work begin. It is called once, and not where a process is alone.
func (m *Metrics) Ledger() *Ledger {
	l := &Ledger{
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "dray_ledger_request_duration_seconds",
			Help:    "How long requests to the ledger took until they were answered, or failed.",
			Buckets: []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10},
			// For servers that scrape native histograms: a resolution of 10 %.
			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  100,
			NativeHistogramMinResetDuration: time.Hour,
		}, []string{"op"}),
		takeovers: m.counter("dray_takeovers_total", "What this process has taken over from another that was gone.", "kind"),
		waited:    m.counter("dray_holds_waited_total", "How often this process has waited for another that was doing the same.", "kind"),
		parts:     m.counter("dray_parts_total", "Parts of runs that this process has made: of its own runs, and of those of other processes.", "origin"),
	}
	m.registry.MustRegister(l.requests)
	l.fenced = m.counter("dray_fenced_total", "How often this process has ended its runs since the ledger was silent for too long.").WithLabelValues()
	for _, kind := range []string{"job", "part"} {
		l.takeovers.WithLabelValues(kind)
	}
	for _, origin := range []string{"own", "other"} {
		l.parts.WithLabelValues(origin)
	}
	return l
}

// Sharing has scrapes show what read returns. It is called once.
func (m *Metrics) Sharing(read func() Sharing) {
	desc := func(name, help string) *prometheus.Desc { return prometheus.NewDesc(name, help, nil, nil) }
	m.registry.MustRegister(&sharing{
		read:     read,
		replicas: desc("dray_replicas", "How many processes that share the work are alive, as the ledger last said."),
		up:       desc("dray_ledger_up", "Whether the ledger can be reached: 1, or 0."),
		inForce:  desc("dray_config_in_force", "Whether the config of this process is the one that decides: 1, or 0 where most have another."),
	})
}

// sharing collects what is known at the moment of a scrape.
type sharing struct {
	read                  func() Sharing
	replicas, up, inForce *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (s *sharing) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{s.replicas, s.up, s.inForce} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (s *sharing) Collect(out chan<- prometheus.Metric) {
	now := s.read()
	for d, value := range map[*prometheus.Desc]float64{s.replicas: float64(now.Replicas), s.up: number(now.Up), s.inForce: number(now.Decides)} {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value)
	}
}

func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// Asked notes a request to the ledger.
func (l *Ledger) Asked(op string, took time.Duration) {
	l.requests.WithLabelValues(op).Observe(took.Seconds())
}

// TookOver counts a job or a part of one that another process had begun, and that this one has taken; kind is which.
func (l *Ledger) TookOver(kind string) { l.takeovers.WithLabelValues(label(kind)).Inc() }

// Made counts a part that this process has made; origin says of whose run: own or other.
func (l *Ledger) Made(origin string) { l.parts.WithLabelValues(label(origin)).Inc() }

// Fenced counts that this process has given up what it was doing.
func (l *Ledger) Fenced() { l.fenced.Inc() }

// Waited counts that this process waits for another that does the same; kind is what.
func (l *Ledger) Waited(kind string) { l.waited.WithLabelValues(label(kind)).Inc() }
