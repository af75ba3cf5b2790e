package web

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/record"
)

const (
	// pageRows is how many jobs a page of the overview shows.
	pageRows = 50
	// maxChoices is how many registries can be chosen from, maxImports how many imports under way are shown of a job, and maxMoving of all.
	maxChoices = 200
	maxImports = 100
	maxMoving  = 30
)

// listing is what the overview shows, as its address says.
type listing struct {
	Search, State, Registry, Sort string
	Group                         bool
	Page                          int
}

func listingOf(query url.Values) listing {
	l := listing{
		Search: clean(strings.TrimSpace(query.Get("q"))), State: query.Get("state"), Registry: clean(query.Get("registry")), Sort: query.Get("sort"),
		Group: query.Get("group") == "target",
	}
	if !slices.Contains(states, l.State) {
		l.State = ""
	}
	if orders[strings.TrimPrefix(l.Sort, "-")] == nil {
		l.Sort = ""
	}
	return l
}

// url is the address of the listing.
func (l listing) url() *url.URL {
	query := url.Values{}
	for key, value := range map[string]string{"q": l.Search, "state": l.State, "registry": l.Registry, "sort": l.Sort} {
		if value != "" {
			query.Set(key, value)
		}
	}
	if l.Group {
		query.Set("group", "target")
	}
	if l.Page > 1 {
		query.Set("page", strconv.Itoa(l.Page))
	}
	return &url.URL{Path: "/", RawQuery: query.Encode()}
}

// with is the address of another listing that begins at its first page.
func (l listing) with(change func(*listing)) string {
	l.Page = 1
	change(&l)
	return l.url().String()
}

// states are those that jobs can be chosen by, besides all.
var states = []string{"failing", "overdue", "running", "waiting", "deferred", "paused", "scheduled", "idle"}

// in reports whether a job is in one of the states.
func in(state string, j *record.JobStatus) bool {
	switch state {
	case "":
		return true
	case "failing":
		return j.Failures > 0
	case "overdue":
		return j.Overdue
	case "paused":
		return j.Paused != nil
	}
	return string(j.State) == state
}

// orders are those that jobs can be sorted by, besides the usual one.
var orders = map[string]func(a, b *record.JobStatus) int{
	"job":     func(a, b *record.JobStatus) int { return strings.Compare(a.Job, b.Job) },
	"state":   func(a, b *record.JobStatus) int { return strings.Compare(string(a.State), string(b.State)) },
	"last":    func(a, b *record.JobStatus) int { return ended(b).Compare(ended(a)) },
	"success": func(a, b *record.JobStatus) int { return a.LastSuccess.Compare(b.LastSuccess) },
	"next":    func(a, b *record.JobStatus) int { return record.CompareDue(a.Due, b.Due) },
}

func ended(j *record.JobStatus) time.Time {
	if j.Last == nil {
		return time.Time{}
	}
	return j.Last.Ended
}

// chosen returns the jobs of a listing, in its order: unless it has another, those that need a look first.
func (l listing) chosen(jobs []record.JobStatus) []*record.JobStatus {
	search := strings.ToLower(l.Search)
	var list []*record.JobStatus
	for i := range jobs {
		j := &jobs[i]
		if in(l.State, j) && (l.Registry == "" || slices.Contains(registriesOf(j), l.Registry)) && mentions(j, search) {
			list = append(list, j)
		}
	}
	order, name := (*record.JobStatus).Compare, strings.TrimPrefix(l.Sort, "-")
	if by := orders[name]; by != nil {
		order = func(a, b *record.JobStatus) int { return cmp.Or(by(a, b), strings.Compare(a.Job, b.Job)) }
	}
	if name != l.Sort {
		up := order
		order = func(a, b *record.JobStatus) int { return up(b, a) }
	}
	slices.SortFunc(list, order)
	if l.Group {
		list = groupedByTarget(list)
	}
	return list
}

// groupedByTarget sorts by target registry what is sorted: groups are in the order of their first jobs.
func groupedByTarget(list []*record.JobStatus) []*record.JobStatus {
	var names []string
	groups := map[string][]*record.JobStatus{}
	for _, j := range list {
		name := groupOf(j)
		if groups[name] == nil {
			names = append(names, name)
		}
		groups[name] = append(groups[name], j)
	}
	list = list[:0]
	for _, name := range names {
		list = append(list, groups[name]...)
	}
	return list
}

func mentions(j *record.JobStatus, search string) bool {
	return search == "" || strings.Contains(strings.ToLower(j.Job), search) || strings.Contains(strings.ToLower(j.Source), search) ||
		slices.ContainsFunc(j.Targets, func(t string) bool { return strings.Contains(strings.ToLower(t), search) })
}

// layouts stands for the registry of an image layout.
const layouts = "layout"

// registryOf returns the registry of a name.
func registryOf(name string) string {
	if strings.HasPrefix(name, image.LayoutScheme) {
		return layouts
	}
	registry, _, ok := strings.Cut(name, "/")
	if !ok { // several images
		return ""
	}
	return registry
}

func registriesOf(j *record.JobStatus) []string {
	list := targetRegistries(j)
	if j.Accounts == nil {
		if source := registryOf(j.Source); source != "" {
			list = append(list, source)
		}
	}
	for _, account := range j.Accounts {
		if source := registryOf(account + "/"); !slices.Contains(list, source) {
			list = append(list, source)
		}
	}
	return list
}

func targetRegistries(j *record.JobStatus) []string {
	var list []string
	for _, t := range j.Targets {
		if name := registryOf(t); !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	return list
}

func groupOf(j *record.JobStatus) string { return strings.Join(targetRegistries(j), ", ") }

// overview is the page of all jobs.
type overview struct {
	*head
	listing
	Counters []counter
	Choices  []choice
	Moving   moving
	Columns  []column
	Rows     []part
	Pager    pager
	// None says why there are no rows.
	None string
	// Filtered is set where only some jobs are shown, and All is the address of all; Grouped is that of the other way to group them.
	Filtered     bool
	All, Grouped string
	Failing      int
}

// counter is a number with what it counts, and shows those jobs.
type counter struct {
	Number, Noun, Link string
	// Tone is how to colour it: "bad", "busy" or nothing.
	Tone    string
	Current bool
}

// choice is a registry that can be chosen.
type choice struct {
	Registry string
	Jobs     string
	Chosen   bool
}

// column is a heading by which the table can be sorted.
type column struct{ Text, Link, Sorted string }

// group is the heading of the jobs of one target registry.
type group struct{ ID, Name, Jobs string }

// moving are the imports under way.
type moving struct {
	Imports []importView
	More    string
}

func (s *Server) overview(status *record.Snapshot, query url.Values, v viewer) *screen {
	l := listingOf(query)
	jobs := l.chosen(status.Jobs)
	list := sheet{Whole: len(jobs), Size: pageRows, Noun: "job"}.at(query.Get("page"))
	l.Page = list.Page
	o := &overview{
		head: s.headOf(status, v, "/", l.url()), listing: l, Counters: l.counters(status.Totals), Choices: l.choices(status.Jobs), Columns: l.columns(),
		Moving: movingOf(status.Jobs, status.Now), Pager: list.pager(func(page int) string { return l.with(func(l *listing) { l.Page = page }) }), Filtered: l.Search+l.State+l.Registry != "",
		All: l.with(func(l *listing) { l.Search, l.State, l.Registry = "", "", "" }), Grouped: l.with(func(l *listing) { l.Group = !l.Group }),
		Failing: status.Totals.Failing,
	}
	shown := &screen{template: "overview", data: o, head: o.head, rows: []string{}, parts: []part{
		{"notices", "notices", o.head}, {"counters", "counters", o}, {"moving", "moving", o}, {"pager", "pager", o.Pager}, {"failing", "failing", o}, {"sync", "sync", o},
	}}
	add := func(id, template string, data any) {
		o.Rows = append(o.Rows, part{id, template, data})
		shown.rows = append(shown.rows, id)
	}
	page := jobs[list.begin():list.end()]
	var sizes map[string]int
	if l.Group {
		sizes = map[string]int{}
		for _, j := range jobs {
			sizes[groupOf(j)]++
		}
	}
	for i, j := range page {
		if name := groupOf(j); l.Group && (i == 0 || groupOf(page[i-1]) != name) {
			g := group{ID: idOf("group", name), Name: clean(cmp.Or(name, "target not known")), Jobs: number(int64(sizes[name]), "job")}
			add(g.ID, "group", g)
		}
		r := rowOf(j, status.Now)
		r.May = v.May
		add(r.ID, "job-row", r)
	}
	switch {
	case len(page) > 0:
	case o.Filtered:
		o.None = "No job is like that."
	default:
		o.None = "There are no jobs: the config has no mappings."
	}
	if o.None != "" {
		add("none", "none", o)
	}
	shown.parts = append(shown.parts, o.Rows...)
	return shown
}

func (l listing) counters(t record.Totals) []counter {
	noun := "jobs"
	if t.Jobs == 1 {
		noun = "job"
	}
	list := []counter{{Number: thousands(int64(t.Jobs)), Noun: noun}}
	for _, c := range []struct {
		state string
		count int
		tone  string
	}{{"failing", t.Failing, "bad"}, {"overdue", t.Overdue, "bad"}, {"running", t.Running, "busy"}, {"waiting", t.Waiting, ""}, {"deferred", t.Deferred, "wait"}, {"paused", t.Paused, "wait"}} {
		next := counter{Number: thousands(int64(c.count)), Noun: c.state}
		if c.state == "running" {
			next.Number = fmt.Sprintf("%d/%d", t.Running, t.Parallel)
		}
		if c.count > 0 {
			next.Tone = c.tone
		}
		list = append(list, next)
	}
	for i := range list {
		state := ""
		if i > 0 {
			state = list[i].Noun
		}
		list[i].Current = l.State == state
		list[i].Link = l.with(func(l *listing) { l.State = state })
	}
	return list
}

// choices are the registries of all jobs, the most used ones if there are too many.
func (l listing) choices(jobs []record.JobStatus) []choice {
	counts := map[string]int{}
	for i := range jobs {
		names := registriesOf(&jobs[i])
		for k, name := range names {
			if !slices.Contains(names[:k], name) {
				counts[name]++
			}
		}
	}
	names := slices.Collect(maps.Keys(counts))
	if len(names) > maxChoices {
		slices.SortFunc(names, func(a, b string) int { return cmp.Or(counts[b]-counts[a], strings.Compare(a, b)) })
		names = names[:maxChoices]
	}
	if l.Registry != "" && !slices.Contains(names, l.Registry) {
		names = append(names, l.Registry)
	}
	slices.Sort(names)
	list := make([]choice, 0, len(names))
	for _, name := range names {
		list = append(list, choice{Registry: clean(name), Jobs: thousands(int64(counts[name])), Chosen: name == l.Registry})
	}
	return list
}

func (l listing) columns() []column {
	list := []column{{Text: "Job", Link: "job"}, {Text: "State", Link: "state"}, {Text: "Last run", Link: "last"}, {Text: "Last success", Link: "success"}, {Text: "Next run", Link: "next"}}
	for i := range list {
		by := list[i].Link
		switch l.Sort {
		case by:
			list[i].Sorted, by = "ascending", "-"+by
		case "-" + by:
			list[i].Sorted, by = "descending", ""
		}
		list[i].Link = l.with(func(l *listing) { l.Sort = by })
	}
	return list
}

// movingOf returns the imports under way of all jobs, the oldest first.
func movingOf(jobs []record.JobStatus, now time.Time) moving {
	type one struct {
		job string
		*record.Import
	}
	var list []one
	for i := range jobs {
		if p := jobs[i].Progress; p != nil {
			for k := range p.UnderWay {
				list = append(list, one{jobs[i].Job, &p.UnderWay[k]})
			}
		}
	}
	slices.SortFunc(list, func(a, b one) int { return cmp.Or(a.Started.Compare(b.Started), strings.Compare(a.Target, b.Target)) })
	var m moving
	for _, i := range list[:min(len(list), maxMoving)] {
		m.Imports = append(m.Imports, importOf(i.job, i.Import, now))
	}
	if more := len(list) - len(m.Imports); more > 0 {
		m.More = number(int64(more), "more import")
	}
	return m
}
