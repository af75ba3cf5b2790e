package web

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/draysync/dray/internal/record"
)

const (
	// jobRuns is how many runs the page of a job shows, and moreRuns how many where somebody asks for more.
	jobRuns, moreRuns = 20, 200
	timeFormat        = "2006-01-02 15:04:05 MST"
)

// jobView is the page of one job.
type jobView struct {
	*head
	Row row
	// Wrong is the last run's whole error.
	Wrong            string
	Position, YAML   string
	Windows          string
	Next             []moment
	Runs             []runView
	Chosen           *runView
	NoHistory        string
	More             string
	Retries, Running bool
	// Log has lines of the log since the last run began.
	Log string
	// Tags is the address of the page of its tags.
	Tags string
	// Plans are the newest plans of it.
	Plans []planLink
	// Paused is set where it has a pause of its own.
	Paused bool
}

// runView is a run that has ended.
type runView struct {
	ID, Link                       string
	Ended                          moment
	At                             string
	Why, Result, Tone, Took, Did   string
	Bytes, Pulls, Repeats, Failure string
	Actions                        []actionView
	Others                         string
	Chosen                         bool
}

// actionView is what a run did with a tag.
type actionView struct {
	Target, Source, Outcome, Tone, Was, Is, Digest, Engine, Reason, Error, Bytes string
}

// jobScreen is the page of the job that a path names.
func (s *Server) jobScreen(ctx context.Context, u *url.URL, v viewer, status *record.Snapshot, m *memo) (*screen, error) {
	name := strings.TrimPrefix(u.Path, jobPage)
	var j *record.JobStatus
	for i := range status.Jobs {
		if status.Jobs[i].Job == name {
			j = &status.Jobs[i]
		}
	}
	if j == nil {
		return nil, errNoPage
	}
	if u.Query().Get("show") == "tags" {
		return s.tagsScreen(ctx, u, v, status, j)
	}
	if u.Query().Get("show") == "plan" {
		return s.planScreen(ctx, u, v, status, j)
	}
	run, limit := u.Query().Get("run"), jobRuns
	here := &url.URL{Path: u.Path, RawPath: u.RawPath}
	query := url.Values{}
	if u.Query().Get("runs") == "more" {
		limit = moreRuns
		query.Set("runs", "more")
	}
	if run != "" {
		query.Set("run", run)
	}
	here.RawQuery = query.Encode()
	p := &jobView{head: s.headOf(status, v, "", here), Row: rowOf(j, status.Now), Running: j.State == record.JobRunning, Paused: j.Paused != nil && !j.Paused.All}
	p.Title, p.Tags = clean(j.Job)+": "+string(j.State), showing(u, "tags", nil)
	if j.Last != nil {
		p.Wrong = clean(j.Last.Error)
		p.Retries = j.Failures > 0
	}
	if s.options.Details != nil {
		config, _ := m.config(s.options.Details, j, status.Config.Generation)
		p.Position, p.YAML, p.Windows = clean(config.Position), clean(config.YAML), clean(config.Windows)
		for _, at := range config.Next {
			p.Next = append(p.Next, till(at, status.Now))
		}
		p.Log = logOf(s.options.Details, j)
	}
	plans, err := s.plansOf(ctx, u, status, j.Job)
	if err != nil {
		return nil, err
	}
	p.Plans = plans
	runs, err := m.history(ctx, s.options.Daemon, j, limit)
	switch {
	case errors.Is(err, ErrUnavailable):
		p.NoHistory = clean(err.Error())
	case err != nil:
		return nil, err
	}
	p.show(runs, run, status.Now, here)
	if len(runs) == limit && limit < moreRuns {
		query.Set("runs", "more")
		p.More = (&url.URL{Path: u.Path, RawPath: u.RawPath, RawQuery: query.Encode()}).String()
	}
	return &screen{template: "job", data: p, head: p.head, parts: []part{
		{"notices", "notices", p.head}, {"state", "job-state", p}, {"imports", "job-imports", p}, {"schedule", "job-schedule", p},
		{"outcomes", "job-outcomes", p}, {"runs", "job-runs", p}, {"config", "job-config", p}, {"log", "job-log", p}, {"actions", "job-actions", p}, {"plans", "job-plans", p},
	}}, nil
}

// pageLines is how many lines of the log a page shows.
const pageLines = 200

// logOf returns the last lines of the log since the run of a job that is under way began, or else the last one.
func logOf(d Details, j *record.JobStatus) string {
	begin := j.Started
	if j.State != record.JobRunning {
		if j.Last == nil {
			return ""
		}
		begin = j.Last.Started
	}
	lines := d.Log(j.Job, begin)
	var b strings.Builder
	for _, l := range lines[max(0, len(lines)-pageLines):] {
		b.WriteString(l.At.UTC().Format("15:04:05") + " " + strings.ReplaceAll(clean(l.Text), "\n", " ") + "\n")
	}
	return b.String()
}

// show takes the runs, and the outcomes of the one that is asked for: unless there is such a run, of the newest that has some.
func (p *jobView) show(runs []record.JobRun, asked string, now time.Time, here *url.URL) {
	chosen := -1
	for i := range runs {
		switch {
		case asked == idOfRun(&runs[i]):
			chosen, asked = i, ""
		case chosen < 0 && len(runs[i].Actions) > 0:
			chosen = i
		}
	}
	for i := range runs {
		r := runOf(&runs[i], now, here)
		if i == chosen {
			r.Chosen = true
			for k := range runs[i].Actions {
				r.Actions = append(r.Actions, actionOf(&runs[i].Actions[k]))
			}
			p.Chosen = &r
		}
		p.Runs = append(p.Runs, r)
	}
}

// idOfRun tells a run from the others of its job.
func idOfRun(r *record.JobRun) string { return strconv.FormatInt(r.Started.UnixMilli(), 10) }

func runOf(r *record.JobRun, now time.Time, here *url.URL) runView {
	query := here.Query()
	query.Set("run", idOfRun(r))
	v := runView{
		ID: "run-" + idOfRun(r), Link: (&url.URL{Path: here.Path, RawPath: here.RawPath, RawQuery: query.Encode(), Fragment: "outcomes"}).String(),
		Ended: since(r.Ended, now), At: r.Started.UTC().Format(timeFormat), Why: string(r.Trigger), Result: string(r.Outcome), Tone: resultTone(r.Outcome),
		Took: elapsed(r.Ended.Sub(r.Started)), Failure: clean(r.Error),
	}
	counts := r.Counts
	counts.Bytes = 0 // they have a column of their own
	v.Did = wordsOf(counts)
	if r.Counts.Bytes > 0 {
		v.Bytes = size(r.Counts.Bytes)
	}
	if r.Counts.Pulls > 0 {
		v.Pulls = thousands(int64(r.Counts.Pulls))
	}
	if r.Repeats > 0 {
		v.Repeats = fmt.Sprintf("the same %s times since %s", thousands(int64(r.Repeats+1)), r.Since.UTC().Format(timeFormat))
	}
	if r.More > 0 {
		v.Others = number(int64(r.More), "more tag")
	}
	return v
}

func actionOf(a *record.Action) actionView {
	v := actionView{
		Target: clean(a.Target), Source: clean(a.Source), Outcome: string(a.Outcome), Tone: outcomeTone(a.Outcome), Was: shortDigest(a.Was), Is: shortDigest(a.Digest),
		Digest: clean(a.Digest), Engine: clean(a.Engine), Reason: clean(a.Reason), Error: clean(a.Error),
	}
	if a.Bytes > 0 {
		v.Bytes = size(a.Bytes)
	}
	return v
}

func outcomeTone(s record.Status) string {
	switch {
	case s == record.Imported:
		return "good"
	case s == record.Refused, s == record.Deferred:
		return "wait"
	case s.Failure():
		return "bad"
	}
	return ""
}

// shortDigest is as much of a digest as tells it from others.
func shortDigest(digest string) string {
	algorithm, hex, _ := strings.Cut(clean(digest), ":")
	if len(hex) <= 12 {
		return clean(digest)
	}
	return algorithm + ":" + hex[:12]
}

// elapsed writes how long something took.
func elapsed(d time.Duration) string {
	if d < 10*time.Second {
		return strconv.FormatFloat(max(0, d).Seconds(), 'f', 1, 64) + " s"
	}
	return span(d)
}
