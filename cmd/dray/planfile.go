package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/file"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/plan"
)

const (
	planKind    = "dray plan"
	planVersion = 1
	// maxPlanFile limits the size of a plan in a file, in bytes: some two hundred thousand imports.
	maxPlanFile = 64 << 20
)

// planFile is a plan as plan --out writes it, for sync to make exactly its imports. It has no credentials.
type planFile struct {
	Kind    string       `json:"kind"`
	Version int          `json:"version"`
	Made    time.Time    `json:"made"`
	Jobs    []plannedJob `json:"jobs"`
}

// plannedJob has the imports of a mapping, and the fingerprint of what it says.
type plannedJob struct {
	Job         string          `json:"job"`
	Fingerprint string          `json:"fingerprint"`
	Imports     []plannedImport `json:"imports"`
}

// plannedImport is one import. The digest of the source is absent where only the target's registry can ask for it, and Was where the target has
// no such tag.
type plannedImport struct {
	Source string `json:"source"`
	Target string `json:"target"`
	Digest string `json:"digest,omitzero"`
	Was    string `json:"was,omitzero"`
}

// planned returns the imports of a plan.
func planned(jobs []plan.Job, results []mirror.Result, now time.Time) planFile {
	fingerprints := make(map[string]string, len(jobs))
	for _, j := range jobs {
		fingerprints[j.Name] = j.Fingerprint
	}
	p := planFile{Kind: planKind, Version: planVersion, Made: now.UTC().Truncate(time.Second), Jobs: []plannedJob{}}
	for _, r := range results {
		j := plannedJob{Job: r.Job, Fingerprint: fingerprints[r.Job]}
		for _, a := range r.Approvable() {
			j.Imports = append(j.Imports, plannedImport{a.Source.String(), a.Target.String(), string(a.Digest), string(a.Was)})
		}
		if len(j.Imports) > 0 {
			p.Jobs = append(p.Jobs, j)
		}
	}
	return p
}

// count returns how many imports a plan has.
func (p planFile) count() (n int) {
	for _, j := range p.Jobs {
		n += len(j.Imports)
	}
	return n
}

// write writes the plan, readable by this user only. A file that was there is replaced when all is written.
func (p planFile) write(path string) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", " ")
	if err := e.Encode(p); err != nil {
		return fmt.Errorf("write the plan: %w", err)
	}
	if b.Len() > maxPlanFile {
		return fmt.Errorf("write the plan: it has %d imports, more than fit into %d MiB: plan fewer mappings at a time", p.count(), maxPlanFile>>20)
	}
	if err := file.Replace(path, b.Bytes(), 0o600); err != nil {
		return fmt.Errorf("write the plan: %w", err)
	}
	return nil
}

// isPlanFile reports whether an argument of sync is a file and not a mapping.
func isPlanFile(jobs []plan.Job, names []string) bool {
	if len(names) != 1 {
		return false
	}
	for _, j := range jobs {
		if j.Name == names[0] {
			return false
		}
	}
	info, err := os.Stat(names[0])
	return err == nil && !info.IsDir()
}

// readPlan reads what plan --out has written.
func readPlan(path string) (planFile, error) {
	var p planFile
	raw, err := file.Read(path, maxPlanFile)
	if err != nil {
		return p, usage("read the plan: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	err = d.Decode(&p)
	switch _, end := d.Token(); {
	case p.Kind != planKind && err != nil:
		return p, usage("%s is neither the name of a mapping nor a plan that dray plan --out has written: %w", path, err)
	case p.Kind != planKind:
		return p, usage("%s is neither the name of a mapping nor a plan that dray plan --out has written", path)
	case p.Version != planVersion:
		return p, usage("%s is a plan of version %d, and this dray reads version %d: make a new one", path, p.Version, planVersion)
	case err != nil:
		return p, usage("%s: %w", path, err)
	case !errors.Is(end, io.EOF):
		return p, usage("%s has more after the plan", path)
	}
	return p, nil
}

// approved returns the jobs of a plan, and their imports. The jobs must be what they were when the plan was made.
func (p planFile) approved(path string, jobs []plan.Job) (chosen []plan.Job, imports map[string][]diff.Action, err error) {
	known := make(map[string]plan.Job, len(jobs))
	for _, j := range jobs {
		known[j.Name] = j
	}
	imports = map[string][]diff.Action{}
	var stale []string
	for _, j := range p.Jobs {
		job, ok := known[j.Job]
		switch {
		case !ok:
			stale = append(stale, fmt.Sprintf("the config has no mapping %q (any more)", j.Job))
			continue
		case imports[j.Job] != nil:
			return nil, nil, usage("%s: the mapping %q stands there twice", path, j.Job)
		case job.Fingerprint != j.Fingerprint:
			stale = append(stale, fmt.Sprintf("the mapping %q has changed", j.Job))
			continue
		}
		imports[j.Job] = make([]diff.Action, 0, len(j.Imports))
		for _, i := range j.Imports {
			a, err := i.action()
			if err != nil {
				return nil, nil, usage("%s: mapping %q: %w", path, j.Job, err)
			}
			imports[j.Job] = append(imports[j.Job], a)
		}
		chosen = append(chosen, job)
	}
	if len(stale) > 0 {
		return nil, nil, usage("%s is not a plan of this config: %s: make a new one", path, strings.Join(stale, ", "))
	}
	return chosen, imports, nil
}

func (i plannedImport) action() (a diff.Action, err error) {
	a.Op, a.Digest, a.Was = diff.Import, image.Digest(i.Digest), image.Digest(i.Was)
	if a.Source, err = image.Parse(i.Source); err != nil {
		return a, err
	}
	a.Target, err = image.Parse(i.Target)
	return a, err
}
