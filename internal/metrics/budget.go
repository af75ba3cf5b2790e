package metrics

import (
	"github.com/draysync/dray/internal/record"
	"github.com/prometheus/client_golang/prometheus"
)

// budgets collects what is known at the moment of a scrape.
type budgets struct {
	read                       func() []record.Budget
	limit, remaining, reserved *prometheus.Desc
}

// Budgets has scrapes show what read returns. It is called once.
func (m *Metrics) Budgets(read func() []record.Budget) {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, []string{"registry", "account"}, nil)
	}
	m.registry.MustRegister(&budgets{
		read:      read,
		limit:     desc("dray_budget_limit", "How many manifests the registry lets the account fetch in a window."),
		remaining: desc("dray_budget_remaining", "How many of them are left."),
		reserved:  desc("dray_budget_reserved", "How many of them are being fetched."),
	})
}

// Describe implements prometheus.Collector.
func (b *budgets) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{b.limit, b.remaining, b.reserved} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (b *budgets) Collect(out chan<- prometheus.Metric) {
	for _, one := range b.read() {
		for d, value := range map[*prometheus.Desc]int{b.limit: one.Limit, b.remaining: one.Remaining, b.reserved: one.Reserved} {
			out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(value), label(one.Registry), label(one.Account))
		}
	}
}

// Pulled counts a manifest that was fetched from a registry that counts them.
func (m *Metrics) Pulled(registry, account string) {
	m.pulls.WithLabelValues(label(registry), label(account)).Inc()
}

// Saved counts a manifest of a registry that counts them which was not fetched; by says what has spared that.
func (m *Metrics) Saved(by string) { m.saved.WithLabelValues(label(by)).Inc() }
