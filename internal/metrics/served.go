package metrics

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/draysync/dray/internal/serve"
)

// NewServed returns the metrics of a process of that version that serves layouts only.
func NewServed(version string, read func() serve.Stats) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	m.describeBuild(version)
	m.Served(read)
	return m
}

// Served has scrapes show what read returns of a registry over layouts. It is called once.
func (m *Metrics) Served(read func() serve.Stats) {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	m.registry.MustRegister(&served{
		read:        read,
		requests:    desc("dray_serve_requests_total", "Requests to the registry over layouts. The code is cut where the answer was cut off, as that of a damaged blob.", "kind", "code"),
		bytes:       desc("dray_serve_sent_bytes_total", "Bytes that the registry over layouts has sent as bodies of answers."),
		connections: desc("dray_serve_connections", "Connections to the registry over layouts."),
		limit:       desc("dray_serve_connections_limit", "How many connections the registry over layouts serves at once; others wait."),
	})
}

// served collects what a registry over layouts has done at the moment of a scrape.
type served struct {
	read                                func() serve.Stats
	requests, bytes, connections, limit *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (s *served) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{s.requests, s.bytes, s.connections, s.limit} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (s *served) Collect(out chan<- prometheus.Metric) {
	now := s.read()
	for a, n := range now.Answers {
		code := "cut"
		if a.Status != 0 {
			code = strconv.Itoa(a.Status)
		}
		out <- prometheus.MustNewConstMetric(s.requests, prometheus.CounterValue, float64(n), a.Kind, code)
	}
	out <- prometheus.MustNewConstMetric(s.bytes, prometheus.CounterValue, float64(now.Bytes))
	out <- prometheus.MustNewConstMetric(s.connections, prometheus.GaugeValue, float64(now.Connections))
	out <- prometheus.MustNewConstMetric(s.limit, prometheus.GaugeValue, float64(now.Limit))
}
