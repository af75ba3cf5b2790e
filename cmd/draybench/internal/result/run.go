package result

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/draysync/dray/cmd/draybench/internal/peer"
)

// Report is everything of one call of draybench.
type Report struct {
	Machine Machine     `json:"machine"`
	Tools   []peer.Tool `json:"tools"`
	TLS     bool        `json:"tls,omitempty"` // between tools and registries
	Corpora []Corpus    `json:"corpora"`
	Runs    []Run       `json:"runs"`
}

// Machine is where it was measured.
type Machine struct {
	CPU      string `json:"cpu"`
	Cores    int    `json:"cores"`
	OS       string `json:"os"`
	Go       string `json:"go"`       // that draybench, and so its proxies, was built with
	Registry string `json:"registry"` // what source and target are
}

// Corpus is what was copied.
type Corpus struct {
	Name          string `json:"name"`
	Description   string `json:"description"`
	Repositories  int    `json:"repositories"`
	Tags          int    `json:"tags"` // of all repositories
	Unique        int64  `json:"uniqueBytes"`
	PerRepository int64  `json:"perRepositoryBytes"`
	Rebuilt       int64  `json:"rebuiltBytes"` // new blobs of the image that a tag moves to
}

// Run is one tool's work in one scenario, once.
type Run struct {
	Key
	Tool   string `json:"tool"`
	Number int    `json:"number"` // from 1

	Wall    float64 `json:"wallSeconds"`
	CPU     float64 `json:"cpuSeconds"`
	PeakRSS int64   `json:"peakBytes"`
	Exit    int     `json:"exit"`

	Source    Requests  `json:"source"`
	Target    Requests  `json:"target"`
	Beyond    int       `json:"requestsBeyondNoop"` // in the scenario moved, else 0
	Fetched   Fetched   `json:"fetched"`
	Sent      int64     `json:"sentBytes"` // of blobs, to the target
	Temporary Temporary `json:"temporary"`

	// Incomplete says what is missing at the target after the run, or how it failed; "" is a good run.
	Incomplete string `json:"incomplete,omitempty"`
	Stderr     string `json:"stderr,omitempty"` // of an incomplete run
}

// Key is what all tools do in turn, to be compared.
type Key struct {
	Corpus   string  `json:"corpus"`
	Scenario string  `json:"scenario"`
	Latency  float64 `json:"latencySeconds"` // that the proxies add to each request
}

// latency is the key's as a duration.
func (k Key) latency() time.Duration {
	return time.Duration(k.Latency * float64(time.Second)).Round(time.Microsecond)
}

// Temporary is what was seen in the tool's TMPDIR.
type Temporary struct {
	Files int   `json:"files"` // at least 1 where something was there however short
	Bytes int64 `json:"bytes"` // the most at one time, as far as it was seen
}

// keys lists what was measured, in the order of measuring.
func (r Report) keys() []Key {
	var keys []Key
	for _, run := range r.Runs {
		if !slices.Contains(keys, run.Key) {
			keys = append(keys, run.Key)
		}
	}
	return keys
}

// corpus returns one by name; the zero Corpus is none.
func (r Report) corpus(name string) Corpus {
	for _, corpus := range r.Corpora {
		if corpus.Name == name {
			return corpus
		}
	}
	return Corpus{}
}

// String is a line of progress.
func (r Run) String() string {
	line := fmt.Sprintf("%s %s %s, run %d: %s in %s, %s of CPU, %s; %d + %d requests, fetched %s, sent %s",
		r.Corpus, r.Scenario, r.latency(), r.Number, r.Tool, seconds(r.Wall), seconds(r.CPU), mebibytes(float64(r.PeakRSS)),
		r.Source.Total(), r.Target.Total(), megabytes(float64(r.Fetched.Bytes)), megabytes(float64(r.Sent)))
	if r.Incomplete != "" {
		said := strings.TrimSpace(r.Stderr)
		line += "; INCOMPLETE: " + r.Incomplete + "; it said: " + said[strings.LastIndexByte(said, '\n')+1:]
	}
	return line
}
