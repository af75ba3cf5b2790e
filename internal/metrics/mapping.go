package metrics

import (
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
)

// mappingLabel stands beside jobLabel, with the same value: Prometheus has a label job of its own, and renames the one that it scrapes to
// exported_job unless honor_labels is set.
const (
	jobLabel     = "job"
	mappingLabel = "mapping"
)

// gather returns all metrics. The label of the mapping is added only here: for ten thousand jobs it would take megabytes.
func (m *Metrics) gather() ([]*dto.MetricFamily, error) {
	families, err := m.registry.Gather()
	name := mappingLabel
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			i := slices.IndexFunc(metric.GetLabel(), func(l *dto.LabelPair) bool { return l.GetName() == jobLabel })
			if i < 0 {
				continue
			}
			labels := slices.Clone(metric.GetLabel()) // they are the registry's own
			at, _ := slices.BinarySearchFunc(labels, name, func(l *dto.LabelPair, name string) int { return strings.Compare(l.GetName(), name) })
			metric.Label = slices.Insert(labels, at, &dto.LabelPair{Name: &name, Value: labels[i].Value})
		}
	}
	return families, err //nolint:wrapcheck // the registry's own
}
