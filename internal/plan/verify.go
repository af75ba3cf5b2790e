package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	"github.com/draysync/dray/internal/config"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/signature"
)

// Policy says who must have signed an image before it is imported.
type Policy struct {
	Name string
	// Images are patterns of host and path; nil for all.
	Images []string
	signature.Policy
	// Warn imports an image that is not verified.
	Warn bool
	// identity is equal for equal policies.
	identity string
}

// PolicyOf returns the policy for a source: of those that match, the one with the longest pattern; nil for none.
func (j Job) PolicyOf(source image.Repository) *Policy {
	var best *Policy
	length := -1
	for _, p := range j.Policies {
		if p.Images == nil {
			return p
		}
		for _, pattern := range p.Images {
			host, paths, _ := strings.Cut(pattern, "/")
			if len(pattern) > length && host == source.Registry && matches(paths, source.Path) {
				best, length = p, len(pattern)
			}
		}
	}
	return best
}

// PolicyNames returns the names of the policies that hold for the job's sources; where a pattern or a catalog decides, of those that may.
func (j Job) PolicyNames() (names []string) {
	if len(j.Repositories) == 0 {
		for _, source := range j.Sources() {
			if p := j.PolicyOf(source.Repository); p != nil && !slices.Contains(names, p.Name) {
				names = append(names, p.Name)
			}
		}
		return names
	}
	for _, p := range j.Policies {
		if p.Images == nil || slices.ContainsFunc(p.Images, func(pattern string) bool { return strings.HasPrefix(pattern, j.Source.Registry+"/") }) {
			names = append(names, p.Name)
		}
	}
	return names
}

// Policies returns the policies of a config that hold for what their patterns match.
func Policies(cfg *config.Config) []*Policy {
	_, byPattern := policies(cfg)
	return byPattern
}

// policies returns those of a config, by name, and those that hold by their patterns.
func policies(cfg *config.Config) (byName map[string]*Policy, byPattern []*Policy) {
	byName = map[string]*Policy{}
	for _, p := range cfg.Policies {
		made := Policy{Name: p.Name, Policy: p.Verify, Warn: p.Warn}
		m := mark{hash: sha256.New()}
		for _, key := range p.Verify.Keys {
			m.text("key", key.Fingerprint())
		}
		for _, identity := range p.Verify.Identities {
			m.text("identity", identity.Fingerprint())
		}
		m.text("threshold", strconv.Itoa(p.Verify.Threshold))
		for _, predicate := range p.Verify.Attestations {
			m.text("attestation", predicate)
		}
		m.text("from", p.Verify.From.String())
		m.flag("warn", p.Warn)
		m.flag("platforms", p.Verify.Platforms)
		made.identity = hex.EncodeToString(m.hash.Sum(nil))
		named, matching := made, made
		byName[p.Name] = &named
		if matching.Images = p.Images; len(p.Images) > 0 {
			byPattern = append(byPattern, &matching)
		}
	}
	return byName, byPattern
}

// policies adds what verifies the job's images to its fingerprint.
func (m *mark) policies(j *Job) {
	if len(j.Repositories) == 0 {
		for _, source := range j.Sources() {
			if p := j.PolicyOf(source.Repository); p != nil {
				m.text("policy", p.identity)
			}
		}
		return
	}
	for _, p := range j.Policies {
		for _, pattern := range p.Images {
			m.text("images", pattern)
		}
		m.text("policy", p.identity)
	}
}
