package web

import (
	"cmp"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/draysync/dray/internal/record"
)

const (
	// maxWaiting is how many of the jobs that wait for a budget are named.
	maxWaiting = 20
	// pageBudgets is how many budgets a page shows.
	pageBudgets = 30
)

// budgetView is what is known of an account's pulls.
type budgetView struct {
	ID, Name, Account                               string
	Limit, Left, Reserved, Kept, Own, Others, Spent string
	Window                                          string
	// Retry is when what does not fit now is tried again, and Full by when nothing is counted any more.
	Retry, Full moment
	Unapplied   bool
	// Parts are those of the limit, in thousandths.
	Bar     []barPart
	Waiting []jobLink
	More    jobLink
	Chart   *chartView
}

// barPart is a part of a bar of 1000.
type barPart struct {
	Class string
	At    int
	Width int
}

type jobLink struct{ Job, Link string }

type budgetsView struct {
	*head
	Budgets []budgetView
	Pager   pager
}

func (s *Server) budgetsScreen(status *record.Snapshot, query url.Values, v viewer) *screen {
	at := func(page int) *url.URL {
		u := &url.URL{Path: "/budgets"}
		if page > 1 {
			u.RawQuery = url.Values{"page": {strconv.Itoa(page)}}.Encode()
		}
		return u
	}
	list := sheet{Whole: len(status.Budgets), Size: pageBudgets, Noun: "budget"}.at(query.Get("page"))
	p := &budgetsView{head: s.headOf(status, v, "/budgets", at(list.Page)), Pager: list.pager(func(page int) string { return at(page).String() })}
	for i := list.begin(); i < list.end(); i++ {
		p.Budgets = append(p.Budgets, budgetOf(&status.Budgets[i], status))
	}
	return &screen{template: "budgets", data: p, head: p.head, parts: []part{{"notices", "notices", p.head}, {"budgets", "budget-list", p}}}
}

func budgetOf(b *record.Budget, status *record.Snapshot) budgetView {
	v := budgetView{
		ID: idOf("budget", b.Registry+" "+b.Account), Name: clean(b.Registry), Limit: count(b.Limit), Left: count(b.Remaining), Reserved: count(b.Reserved),
		Chart: chartOf(b, status.Now), Kept: count(b.Keep), Own: count(b.Spent), Others: count(b.Others), Retry: till(b.RetryAt, status.Now), Full: till(b.FullBy, status.Now), Unapplied: b.Unapplied,
	}
	if b.Account != b.Registry {
		v.Account = clean(b.Account)
	}
	if b.Window > 0 {
		v.Window = span(time.Duration(b.Window))
	}
	if b.Limit > 0 && b.Remaining >= 0 {
		left := max(0, b.Remaining-b.Reserved-b.Keep)
		kept := min(b.Keep, max(0, b.Remaining-b.Reserved))
		at := 0
		for _, p := range []struct {
			class string
			pulls int
		}{{"own", b.Spent}, {"others", b.Others}, {"reserved", b.Reserved}, {"kept", kept}, {"left", left}} {
			width := min(max(0, p.pulls)*1000/b.Limit, 1000-at)
			if width > 0 {
				v.Bar = append(v.Bar, barPart{p.class, at, width})
			}
			at += width
		}
	}
	waiting := 0
	for i := range status.Jobs {
		j := &status.Jobs[i]
		if j.DeferredUntil.IsZero() || j.OutsideWindows || !readsBy(j, b) {
			continue
		}
		if waiting++; waiting <= maxWaiting {
			v.Waiting = append(v.Waiting, jobLink{clean(j.Job), pageOfJob(j.Job)})
		}
	}
	if more := waiting - len(v.Waiting); more > 0 {
		v.More = jobLink{number(int64(more), "more job"), listing{State: string(record.JobDeferred), Registry: b.Registry}.url().String()}
	}
	return v
}

// readsBy reports whether a job reads sources with the account of a budget, as far as is known.
func readsBy(j *record.JobStatus, b *record.Budget) bool {
	if j.Accounts == nil {
		return registryOf(j.Source) == b.Registry
	}
	return slices.Contains(j.Accounts, b.Account)
}

// count writes a number that may be unknown.
func count(n int) string {
	if n < 0 {
		return "not known"
	}
	return thousands(int64(n))
}

// registryView is how the requests to a registry have fared.
type registryView struct {
	ID, Registry, Link         string
	Requests, Errors, InFlight string
	Failure                    string
	FailedAt                   moment
	Tone                       string
	Jobs                       string
	// Accounts are as whom dray has signed in.
	Accounts []string
}

type registriesView struct {
	*head
	Registries []registryView
}

func (s *Server) registriesScreen(status *record.Snapshot, v viewer) *screen {
	p := &registriesView{head: s.headOf(status, v, "/registries", &url.URL{Path: "/registries"})}
	if s.options.Details != nil {
		for _, u := range s.options.Details.Registries() {
			p.Registries = append(p.Registries, registryViewOf(&u, status))
		}
	}
	return &screen{template: "registries", data: p, head: p.head, parts: []part{{"notices", "notices", p.head}, {"registries", "registry-list", p}}}
}

func registryViewOf(u *record.RegistryUse, status *record.Snapshot) registryView {
	r := registryView{
		ID: idOf("registry", u.Registry), Registry: clean(u.Registry), Link: listing{Registry: u.Registry}.url().String(),
		Requests: thousands(u.Requests), Errors: thousands(u.Errors), InFlight: thousands(u.InFlight), Failure: clean(u.Failure), FailedAt: since(u.FailedAt, status.Now),
	}
	if u.Errors > 0 {
		r.Tone = "bad"
	}
	for _, a := range u.Accounts {
		text := clean(cmp.Or(a.Name, "nobody"))
		if part, ok := strings.CutPrefix(a.Part, u.Registry+"/"); ok {
			text += ", for " + clean(part)
		}
		r.Accounts = append(r.Accounts, text)
	}
	jobs := 0
	for i := range status.Jobs {
		for _, name := range registriesOf(&status.Jobs[i]) {
			if name == u.Registry {
				jobs++
				break
			}
		}
	}
	r.Jobs = thousands(int64(jobs))
	return r
}

// configView is the page of the config.
type configView struct {
	*head
	Path                    string
	Files                   []string
	Added, Changed, Removed nameList
	ChangedAt               moment
	Replicas                []replicaView
	// InForce is the beginning of the hash of the jobs in force, RoundTrip how long the ledger takes to answer; empty where that is not known.
	InForce, RoundTrip string
}

// replicaView is a process that works on the same jobs.
type replicaView struct {
	Name, Dray, Jobs, Parts, Generation string
	Joined                              moment
	Me, InForce                         bool
}

// nameList are some names, and how many more there are.
type nameList struct {
	Jobs []jobLink
	More string
}

const maxNames = 100

func namesOf(jobs []string, linked bool) nameList {
	var n nameList
	for _, job := range jobs[:min(len(jobs), maxNames)] {
		link := jobLink{Job: clean(job)}
		if linked {
			link.Link = pageOfJob(job)
		}
		n.Jobs = append(n.Jobs, link)
	}
	if more := len(jobs) - len(n.Jobs); more > 0 {
		n.More = number(int64(more), "more job")
	}
	return n
}

// hashText shortens a hash to what tells it from others.
func hashText(hash string) string { return clean(hash[:min(len(hash), record.HashShown)]) }

func (s *Server) configScreen(status *record.Snapshot, v viewer) *screen {
	p := &configView{head: s.headOf(status, v, "/config", &url.URL{Path: "/config"})}
	if s.options.Details != nil {
		c := s.options.Details.Config()
		p.Path = clean(c.Path)
		if v.May { // where secrets lie is not for everybody
			for _, file := range c.Files {
				p.Files = append(p.Files, clean(file))
			}
		}
		p.Added, p.Changed, p.Removed = namesOf(c.Added, true), namesOf(c.Changed, true), namesOf(c.Removed, false)
		p.ChangedAt = since(c.ChangedAt, status.Now)
	}
	for _, r := range status.Replicas {
		p.Replicas = append(p.Replicas, replicaView{clean(r.Name), clean(r.Dray), thousands(int64(r.Jobs)), thousands(int64(r.Parts)), hashText(r.Generation), since(r.Joined, status.Now), r.Me, r.InForce})
	}
	p.InForce = hashText(status.Config.InForce)
	if l := status.Ledger; l != nil && l.Reachable {
		p.RoundTrip = time.Duration(l.RoundTrip * float64(time.Second)).Round(100 * time.Microsecond).String()
	}
	return &screen{template: "config", data: p, head: p.head, parts: []part{{"notices", "notices", p.head}, {"reload", "reload", p}, {"loaded", "config-loaded", p}}}
}
