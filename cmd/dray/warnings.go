package main

import (
	"context"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/draysync/dray/internal/config"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/ratelimit"
	"github.com/draysync/dray/internal/record"
	"github.com/draysync/dray/internal/registry"
	"github.com/draysync/dray/internal/report"
	"github.com/draysync/dray/internal/store"
)

// historyLooked limits the runs that warnings consider, and historyPage is how many are read at a time.
const (
	historyLooked = 5000
	historyPage   = 1000
)

// warnings returns warnings about settings that are valid but will not work as intended, judging by the registries' answers and a daemon's runs.
func (g *generation) warnings(ctx context.Context, now time.Time) []string {
	var texts []string
	for _, b := range g.limits.budgets() {
		if b.Unapplied {
			texts = append(texts, fmt.Sprintf("%s: the sign-in took no effect, the registry counts the pulls of this address: check registries.%s or docker login", b.Registry, b.Account))
		}
	}
	for _, b := range g.limits.remembered(g) {
		runs := g.runsFrom(ctx, b)
		d, ok := ratelimit.Overcommitted(runs, time.Duration(b.Window), now)
		if !ok {
			continue
		}
		texts = append(texts, fmt.Sprintf("%s: the mappings need about %d pulls in %s, and %d of %d may be spent: %d imports wait, and have not become fewer since %s; "+
			"fewer platforms or tags, an account with more pulls, or registries.%s.mirrors would help",
			b.Account, d.Wanted, report.Elapsed(time.Duration(b.Window)), max(0, b.Limit-b.Keep), b.Limit, d.Waiting, d.Since.Format("Jan 2 15:04"), b.Registry))
	}
	return texts
}

// missingHelpers returns warnings about credential helpers of the config and of docker login's files that are not installed.
func missingHelpers(cfg *config.Config, client *registry.Client, repos map[string]image.Repository) []string {
	var texts []string
	for _, key := range slices.Sorted(maps.Keys(cfg.Registries)) {
		program := "docker-credential-" + cfg.Registries[key].CredentialHelper
		if cfg.Registries[key].CredentialHelper == "" {
			continue
		}
		if _, err := exec.LookPath(program); err != nil {
			texts = append(texts, fmt.Sprintf("registries.%s.credentialHelper: the program %s is not on PATH: install it, or take the key out", key, program))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(repos)) {
		if text := client.Lacking(repos[name]); text != "" && !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	return texts
}

// unscheduled names the mappings that dray run runs only at start and when they change; it is empty if all have a schedule.
func unscheduled(jobs []plan.Job) string {
	const most = 3
	var names []string
	for _, j := range jobs {
		if j.Schedule.IsZero() {
			names = append(names, j.Name)
		}
	}
	text := strings.Join(names[:min(len(names), most)], ", ")
	switch n := len(names); {
	case n == 0:
		return ""
	case n == 1:
		return text + " has no schedule: dray run runs it at start and when it changes"
	case n > most:
		text += fmt.Sprintf(" and %d more", n-most)
	}
	return text + " have no schedule: dray run runs them at start and when they change"
}

// unclear returns warnings about what may be images in the files of imagesFrom, and is not imported.
func unclear(cfg *config.Config) (texts []string) {
	for _, m := range cfg.Mappings {
		for i, d := range m.Doubts {
			if more := len(m.Doubts) - i; i == shownNames && more > 1 {
				texts = append(texts, fmt.Sprintf("%s: %d more places are unclear; dray images lists them", m.Name, more))
				break
			}
			texts = append(texts, fmt.Sprintf("%s does not import %q of %s: it %s", m.Name, d.Text, d.Place, d.Why))
		}
	}
	return texts
}

// unverified returns warnings about policies that hold for no mapping, and mappings that are exempt from one.
func unverified(cfg *config.Config, jobs []plan.Job) []string {
	used := map[string]bool{}
	var texts, exempt []string
	for i, j := range jobs {
		for _, name := range j.PolicyNames() {
			used[name] = true
		}
		if cfg.Mappings[i].Verify == config.NoPolicy {
			j.Policies = plan.Policies(cfg)
			for _, name := range j.PolicyNames() {
				used[name] = true
				exempt = append(exempt, fmt.Sprintf("%s is not verified (verify: false), though verify.%s matches its source", j.Name, name))
			}
		}
	}
	for _, p := range cfg.Policies {
		if !used[p.Name] {
			texts = append(texts, fmt.Sprintf("verify.%s holds for no mapping: no source matches its images, and no mapping names it", p.Name))
		}
	}
	return append(texts, exempt[:min(len(exempt), shownNames)]...)
}

// runsFrom returns the runs of the jobs whose source has a budget.
func (g *generation) runsFrom(ctx context.Context, b record.Budget) []record.JobRun {
	of := map[string]bool{}
	for _, j := range g.jobs {
		if slices.ContainsFunc(j.Sources(), func(source image.Reference) bool {
			return source.Registry == b.Registry && g.client.Account(source.Repository) == b.Account
		}) {
			of[j.Name] = true
		}
	}
	var runs []record.JobRun
	for before := int64(0); len(of) > 0 && len(runs) < historyLooked; {
		page, err := g.store.History(ctx, store.HistoryQuery{Limit: historyPage, Before: before})
		if err != nil || len(page) == 0 {
			break // no history, no warning
		}
		for _, r := range page {
			if of[r.Job] {
				runs = append(runs, r)
			}
		}
		before = page[len(page)-1].ID
	}
	return runs
}
