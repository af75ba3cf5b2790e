package result

import (
	"errors"
	"fmt"
	"strings"
)

// verdict is one limit and what became of it.
type verdict struct {
	limit string
	kept  bool
	found string
}

// judge compares one scenario with its limits.
type judge struct {
	report   Report
	key      Key
	corpus   Corpus
	dray     series
	verdicts []verdict
}

func (j *judge) add(limit string, kept bool, found string) {
	if len(j.dray) == 0 {
		kept, found = false, "dray was not measured"
	}
	j.verdicts = append(j.verdicts, verdict{limit, kept, found})
}

// Missed compares dray with the limits that it has to keep in what was measured: those of corpora, scenarios and latencies
// that were not measured are not looked at, but a tool that a limit compares with must have been. The text lists all limits;
// the error names those that are missed, and nil is none.
func (r Report) Missed() (text string, missed error) {
	var all strings.Builder
	var errs []error
	for _, key := range r.keys() {
		j := judge{report: r, key: key, corpus: r.corpus(key.Corpus), dray: r.series(key, dray)}
		j.scenario()
		for _, v := range j.verdicts {
			word := "kept  "
			line := fmt.Sprintf("%s, %s, %s: %s: %s", key.Corpus, key.Scenario, key.latency(), v.limit, v.found)
			if !v.kept {
				word = "MISSED"
				errs = append(errs, errors.New("missed: "+line))
			}
			fmt.Fprintf(&all, "%s %s\n", word, line)
		}
	}
	return all.String(), errors.Join(errs...)
}

// scenario looks at the limits of the key.
func (j *judge) scenario() {
	switch j.key.Corpus + " " + j.key.Scenario {
	case "small first":
		j.exactly("fetched", fetched, float64(j.corpus.Unique), 0.001, exact)
		j.exactly("sent", sent, float64(j.corpus.Unique), 0.001, exact)
		j.exactly("blobs fetched again", repeats, 0, 0, number)
		j.atMost(0.55, regsync, "requests to the target", targetRequests, number)
		j.atMost(0.55, regsync, "wall", wall, seconds)
		j.atMost(0.3, skopeo, "wall", wall, seconds)
	case "small shared":
		j.exactly("fetched", fetched, 0, 0, exact)
		j.exactly("sent", sent, 0, 0, exact)
	case "small forgotten":
		j.atMost(1, regsync, "fetched", fetched, exact)
		j.atMost(1, regsync, "sent", sent, exact)
	case "small moved":
		j.exactly("fetched", fetched, float64(j.corpus.Rebuilt), 0, exact)
		j.exactly("sent", sent, float64(j.corpus.Rebuilt), 0, exact)
		j.below("requests beyond the no-op's", beyond, 15, number)
	case "wide first":
		j.atMost(0.5, regsync, "wall", wall, seconds)
	case "wide noop":
		most := float64(j.corpus.Tags + j.corpus.Repositories) // a HEAD for each tag and the tag lists
		j.below("requests to the source", sourceRequests, most, number)
		j.below("requests to the target", targetRequests, most, number)
		if j.key.Latency > 0 {
			j.atMost(0.4, regsync, "wall", wall, seconds)
		}
	case "wide listed":
		each := float64(j.corpus.Repositories)
		j.below("requests to the source", sourceRequests, each, number)
		j.below("requests to the target", targetRequests, each, number)
		if key := (Key{j.key.Corpus, "noop", j.key.Latency}); j.key.Latency > 0 && len(j.report.series(key, dray)) > 0 {
			j.below("wall, of which a no-op with HEADs takes ten times as much", wall, j.report.series(key, dray).median(wall)/10, seconds)
		}
	case "big first":
		j.atMost(1, j.fastest(), "wall", wall, seconds)
		j.atMost(1, regsync, "CPU per GB fetched", perGB, seconds)
		j.below("peak memory", peak, 64<<20, mebibytes)
		j.exactly("temporary files", temporaryFiles, 0, 0, number)
	}
	if why := j.dray.incomplete(); why != "" {
		j.add("everything is at the target", false, why)
	}
}

// perGB is the CPU time for what was fetched.
func perGB(r Run) float64 {
	if r.Fetched.Bytes == 0 {
		return 0
	}
	return r.CPU / float64(r.Fetched.Bytes) * 1e9
}

// exact writes bytes in full: limits are about single ones.
func exact(v float64) string { return fmt.Sprintf("%.0f bytes", v) }

// exactly wants all of dray's runs at a value, give or take a share of it.
func (j *judge) exactly(what string, value func(Run) float64, want, tolerance float64, write func(float64) string) {
	worst := j.dray.worst(value, want)
	kept := max(worst-want, want-worst) <= want*tolerance
	j.add(what+" = "+write(want), kept, write(worst))
}

// below wants dray's median at no more than a value.
func (j *judge) below(what string, value func(Run) float64, most float64, write func(float64) string) {
	median := j.dray.median(value)
	j.add(what+" ≤ "+write(most), median <= most, write(median))
}

// atMost wants dray's median at no more than a share of another tool's. A tool that did not do the work is nothing to
// compare with.
func (j *judge) atMost(share float64, tool, what string, value func(Run) float64, write func(float64) string) {
	limit := fmt.Sprintf("%s ≤ %g × %s", what, share, tool)
	others := j.report.series(j.key, tool)
	switch {
	case len(others) == 0:
		j.add(limit, false, tool+" was not measured")
	case others.incomplete() != "":
		j.add(limit, true, tool+" did not do the work")
	default:
		mine, theirs := j.dray.median(value), others.median(value)
		found := write(mine) + " against " + write(theirs)
		if theirs > 0 {
			found += fmt.Sprintf(", %.3f ×", mine/theirs)
		}
		j.add(limit, mine <= share*theirs, found)
	}
}

// fastest is the peer with the least median wall time among those that did the work.
func (j *judge) fastest() string {
	name, least := "the fastest peer", 0.0
	for _, tool := range j.report.tools(j.key) {
		runs := j.report.series(j.key, tool.Name)
		if tool.Name == dray || runs.incomplete() != "" {
			continue
		}
		if median := runs.median(wall); least == 0 || median < least {
			name, least = tool.Name, median
		}
	}
	return name
}
