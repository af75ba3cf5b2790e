package result

import (
	"slices"

	"github.com/draysync/dray/cmd/draybench/internal/peer"
)

// the tools that dray is compared with by name.
const (
	dray    = "dray"
	regsync = "regsync"
	skopeo  = "skopeo"
)

// series are all runs of one tool under one key.
type series []Run

// series finds the runs of a tool.
func (r Report) series(key Key, tool string) series {
	var found series
	for _, run := range r.Runs {
		if run.Key == key && run.Tool == tool {
			found = append(found, run)
		}
	}
	return found
}

// incomplete is what is wrong with the first run that is not whole; "" when all are.
func (s series) incomplete() string {
	for _, run := range s {
		if run.Incomplete != "" {
			return run.Incomplete
		}
	}
	return ""
}

// median is that of a value over all runs; of an even number it is the mean of the two in the middle.
func (s series) median(value func(Run) float64) float64 {
	if len(s) == 0 {
		return 0
	}
	values := make([]float64, len(s))
	for i, run := range s {
		values[i] = value(run)
	}
	slices.Sort(values)
	middle := len(values) / 2
	if len(values)%2 == 1 {
		return values[middle]
	}
	return (values[middle-1] + values[middle]) / 2
}

// worst is the run's value that is furthest from want.
func (s series) worst(value func(Run) float64, want float64) float64 {
	worst := want
	for _, run := range s {
		if v := value(run); max(v-want, want-v) > max(worst-want, want-worst) {
			worst = v
		}
	}
	return worst
}

// tools are those that have runs under a key, in the order of the report.
func (r Report) tools(key Key) []peer.Tool {
	var tools []peer.Tool
	for _, tool := range r.Tools {
		if len(r.series(key, tool.Name)) > 0 {
			tools = append(tools, tool)
		}
	}
	return tools
}

// What is measured of a run.
func wall(r Run) float64           { return r.Wall }
func cpu(r Run) float64            { return r.CPU }
func peak(r Run) float64           { return float64(r.PeakRSS) }
func sourceRequests(r Run) float64 { return float64(r.Source.Total()) }
func targetRequests(r Run) float64 { return float64(r.Target.Total()) }
func beyond(r Run) float64         { return float64(r.Beyond) }
func fetched(r Run) float64        { return float64(r.Fetched.Bytes) }
func repeats(r Run) float64        { return float64(r.Fetched.Repeats) }
func repeatedBytes(r Run) float64  { return float64(r.Fetched.RepeatedBytes) }
func sent(r Run) float64           { return float64(r.Sent) }
func temporaryFiles(r Run) float64 { return float64(r.Temporary.Files) }
