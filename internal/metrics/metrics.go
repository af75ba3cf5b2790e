package metrics

import (
	"net/http"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// The bounds of the handler. Prometheus itself asks once in a scrape interval.
const (
	maxScrapes    = 4
	scrapeTimeout = 30 * time.Second
)

// Metrics are all metrics of one process, in a registry of their own. It lives as long as the process, across generations of the
// config, and is safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry

	reloadSuccessful *prometheus.GaugeVec
	reloadSuccess    *prometheus.GaugeVec

	jobs *jobs

	importDuration *prometheus.HistogramVec
	importedBytes  *prometheus.CounterVec
	mountedBytes   prometheus.Counter

	requests *prometheus.CounterVec
	pulls    *prometheus.CounterVec
	saved    *prometheus.CounterVec
	events   *prometheus.CounterVec

	mu sync.Mutex
	// registries are those with a label value of their own.
	registries map[string]*use
}

// New returns the metrics of a process of that version, which is to be made once. The series of the engines that are named exist
// from the start, so that a rate over the first import of a process is right.
func New(version string, engines ...string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), jobs: newJobs(), registries: map[string]*use{}}
	m.describeProcess(version)
	m.registry.MustRegister(m.jobs)
	m.describeImports()
	for _, engine := range engines {
		m.importDuration.WithLabelValues(engine)
		m.importedBytes.WithLabelValues(engine)
	}
	return m
}

func (m *Metrics) describeBuild(version string) {
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.gauge("dray_build_info", "Always 1; the labels say what runs.", "version", "goversion").WithLabelValues(version, runtime.Version()).Set(1)
}

func (m *Metrics) describeProcess(version string) {
	m.describeBuild(version)
	m.reloadSuccessful = m.gauge("dray_config_last_reload_successful", "Whether the config as it was last read was taken over: 1, or 0 where the one before it runs on.")
	m.reloadSuccess = m.gauge("dray_config_last_reload_success_timestamp_seconds", "When a config was last taken over.")
	m.requests = m.counter("dray_registry_requests_total", "Requests to a registry, each attempt by itself, with those to its token server and to where it redirects. The code is error where no answer came.",
		"registry", "method", "code")
	m.events = m.counter("dray_events_total", "Events that were sent to a receiver, by what became of them.", "receiver", "outcome")
}

func (m *Metrics) describeImports() {
	m.importDuration = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "dray_import_duration_seconds",
		Help:    "How long imports that were made took, with their retries.",
		Buckets: []float64{0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1200, 1800, 3600},
		// For servers that scrape native histograms: a resolution of 10 %.
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  100,
		NativeHistogramMinResetDuration: time.Hour,
	}, []string{"engine"})
	m.registry.MustRegister(m.importDuration)
	m.importedBytes = m.counter("dray_imported_bytes_total", "Bytes of blobs that passed through dray, also for imports that failed.", "engine")
	m.pulls = m.counter("dray_pulls_total", "Manifests that were fetched from registries that count them.", "registry", "account")
	m.saved = m.counter("dray_pulls_saved_total", "Manifests of registries that count them which were at hand and so were not fetched.", "by")
	mounted := m.counter("dray_mounted_bytes_total", "Bytes of blobs that a target took from another of its own repositories.")
	m.mountedBytes = mounted.WithLabelValues()
}

func (m *Metrics) gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	vec := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	m.registry.MustRegister(vec)
	if len(labels) == 0 {
		vec.WithLabelValues()
	}
	return vec
}

func (m *Metrics) counter(name, help string, labels ...string) *prometheus.CounterVec {
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	m.registry.MustRegister(vec)
	return vec
}

// Handler serves the metrics, compressed where the client takes that. Beyond a few scrapes at once it answers 503. What cannot be
// collected is counted in promhttp_metric_handler_errors_total and left out.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		Registry:            m.registry,
		ErrorHandling:       promhttp.ContinueOnError,
		EnableOpenMetrics:   true,
		MaxRequestsInFlight: maxScrapes,
		// It has the answer written to memory first, so that a client that reads slowly takes no place of others.
		Timeout: scrapeTimeout,
	})
}

// Reloaded notes a try to take over a config; err is why it was rejected.
func (m *Metrics) Reloaded(at time.Time, err error) {
	if err != nil {
		m.reloadSuccessful.WithLabelValues().Set(0)
		return
	}
	m.reloadSuccessful.WithLabelValues().Set(1)
	m.reloadSuccess.WithLabelValues().Set(seconds(at))
}

// Event counts an event that was sent to a receiver.
func (m *Metrics) Event(receiver, outcome string) {
	m.events.WithLabelValues(label(receiver), label(outcome)).Inc()
}

// seconds is the Unix time in seconds, to the millisecond.
func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
