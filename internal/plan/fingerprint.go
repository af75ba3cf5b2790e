package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"strconv"
	"time"
)

// fingerprintLength is the length in hex digits: 128 bits, so that no two jobs have the same fingerprint by chance.
const fingerprintLength = 32

// fingerprint computes [Job.Fingerprint]. Unset fields do not affect it, so that a new field of a later version changes only the
// fingerprints of the jobs that use it, and a daemon does not run everything after an update.
func (j *Job) fingerprint() string {
	m := mark{hash: sha256.New()}
	m.text("name", j.Name)
	m.text("source", j.Source.String())
	for _, i := range j.Images {
		m.text("image", i.Source.String())
		for _, target := range i.Targets {
			m.text("imageTarget", target.String())
		}
	}
	for _, target := range j.Targets {
		m.text("target", target.String())
	}
	for _, repository := range j.Repositories {
		m.text("repository", repository)
	}
	m.text("tags", j.Tags.Identity())
	m.text("prefix", j.Retag.Prefix)
	m.text("suffix", j.Retag.Suffix)
	for _, platform := range j.Platforms {
		m.text("platform", platform.String())
	}
	m.flag("refuseMoved", j.RefuseMoved)
	m.text("immutable", j.Immutable.Identity())
	m.flag("allReferrers", j.Referrers.All)
	for _, kind := range j.Referrers.Types {
		m.text("referrers", kind)
	}
	m.duration("referrersInterval", j.ReferrersInterval)
	m.flag("foreignLayers", j.ForeignLayers)
	if j.Engine != "auto" {
		m.text("engine", j.Engine)
	}
	m.flag("resolveServer", j.ResolveServer)
	timeout := j.Timeout
	if timeout == 12*time.Hour { // the default, which was an hour
		timeout = time.Hour
	}
	m.duration("timeout", timeout)
	m.number("retries", j.Retries)
	if !j.Schedule.IsZero() {
		m.text("schedule", j.Schedule.String()) // with the time zone where that matters
	}
	m.duration("jitter", j.Jitter)
	m.text("windows", j.Windows.String())
	m.flag("cutAtEnd", j.CutAtEnd)
	m.number("priority", j.Priority)
	m.policies(j)
	return hex.EncodeToString(m.hash.Sum(nil))[:fingerprintLength]
}

// mark is the input of a fingerprint: a list of labelled texts, each with its length, so that different lists never encode alike.
type mark struct {
	hash   hash.Hash
	buffer []byte
}

func (m *mark) text(label, value string) {
	if value == "" {
		return
	}
	b := append(m.buffer[:0], label...)
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(len(value)), 10)
	b = append(b, ' ')
	b = append(b, value...)
	m.buffer = append(b, '\n')
	m.hash.Write(m.buffer)
}

func (m *mark) flag(label string, value bool) {
	if value {
		m.text(label, "true")
	}
}

func (m *mark) number(label string, value int) {
	if value != 0 {
		m.text(label, strconv.Itoa(value))
	}
}

func (m *mark) duration(label string, value time.Duration) {
	if value != 0 {
		m.text(label, value.String())
	}
}
