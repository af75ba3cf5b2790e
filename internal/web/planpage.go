package web

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/draysync/dray/internal/record"
)

const (
	// pagePlan is how many actions of a plan a page shows, and plansShown how many plans the page of a job leads to.
	pagePlan, plansShown = 100, 5
	// MaxPlanPage is the largest number of actions of a plan in one answer.
	MaxPlanPage = 1000

	planPrefix = apiPrefix + "plans/"
)

// Plan is the document of GET /api/v1/plans/{id}.
type Plan struct {
	Version int `json:"version"`
	record.PlanStatus
}

func completePlan(p *record.PlanStatus) {
	p.Asked, p.Ended, p.Expires, p.Approved = past(p.Asked), past(p.Ended), past(p.Expires), past(p.Approved)
	if p.Actions == nil {
		p.Actions = []record.Action{}
	}
}

// planAt returns the plan that a path as it was sent names, and whether its approval is meant.
func planAt(path string) (id string, approve, ok bool) {
	id, ok = strings.CutPrefix(path, planPrefix)
	id, approve = strings.CutSuffix(id, "/approve")
	return id, approve, ok && id != "" && !strings.Contains(id, "/")
}

// servePlan has a plan of a job made.
func (s *Server) servePlan(w http.ResponseWriter, r *http.Request, job string) {
	by, err := asker(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.limits.Answer)
	defer cancel()
	switch id, err := s.options.Daemon.Plan(ctx, job, by); {
	case err != nil:
		fail(w, err)
	case id == "":
		s.withStatus(w, r, func(status *record.Snapshot) { s.unknown(w, job, status) })
	default:
		s.answerPlan(w, r, http.StatusAccepted, id, 0, 0)
	}
}

func (s *Server) servePlanStatus(w http.ResponseWriter, r *http.Request, id string) {
	from, limit := 0, pagePlan
	for name, to := range map[string]*int{"from": &from, "limit": &limit} {
		text := r.URL.Query().Get(name)
		if text == "" {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > MaxPlanPage && name == "limit" {
			refuse(w, http.StatusBadRequest, "from is a number, and limit one from 0 to "+strconv.Itoa(MaxPlanPage))
			return
		}
		*to = n
	}
	s.answerPlan(w, r, http.StatusOK, id, from, limit)
}

func (s *Server) answerPlan(w http.ResponseWriter, r *http.Request, status int, id string, from, limit int) {
	s.inTurn(w, r, func(ctx context.Context) error {
		p, found, err := s.options.Daemon.PlanStatus(ctx, id, from, limit)
		switch {
		case err != nil:
			return err
		case !found:
			refuse(w, http.StatusNotFound, noPlan)
		default:
			completePlan(&p)
			answer(w, status, Plan{documentVersion, p})
		}
		return nil
	})
}

// errNoPlan says that a path leads to no plan.
var errNoPlan = errors.New(noPlan)

const noPlan = "there is no such plan here any more: make a new one"

// serveApproval has the imports of a plan made.
func (s *Server) serveApproval(w http.ResponseWriter, r *http.Request, id string) {
	by, err := asker(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.limits.Answer)
	defer cancel()
	switch job, err := s.options.Daemon.Approve(ctx, id, by); {
	case err != nil:
		fail(w, err)
	case job == "":
		refuse(w, http.StatusNotFound, noPlan)
	default:
		s.answerPlan(w, r, http.StatusAccepted, id, 0, 0)
	}
}

// doPlan has a plan of a job made, and leads to it.
func (s *Server) doPlan(w http.ResponseWriter, r *http.Request, v viewer) {
	if !s.mayAct(w, r, v) {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.limits.Answer)
	defer cancel()
	job := r.PostForm.Get("job")
	by, err := asker(r)
	id := ""
	if err == nil {
		s.asked(r, v, "plan", slog.String("job", job))
		id, err = s.options.Daemon.Plan(ctx, job, by)
	}
	switch {
	case err != nil:
		s.problem(w, r, v, http.StatusServiceUnavailable, "The daemon cannot do that now", err.Error())
	case id == "":
		s.problem(w, r, v, http.StatusNotFound, "There is no such job", "No job is named "+job+"; it may have left the config.")
	default:
		page, _ := url.Parse(pageOfJob(job)) // it is escaped
		r.PostForm.Set("back", showing(page, "plan", url.Values{"plan": {id}}))
		done(w, r, "plan")
	}
}

// doApprove has the imports of a plan made, and leads to its job.
func (s *Server) doApprove(w http.ResponseWriter, r *http.Request, v viewer) {
	if !s.mayAct(w, r, v) {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.limits.Answer)
	defer cancel()
	id := r.PostForm.Get("plan")
	by, err := asker(r)
	job := ""
	if err == nil {
		s.asked(r, v, "approve", slog.String("request", id))
		job, err = s.options.Daemon.Approve(ctx, id, by)
	}
	switch {
	case err != nil:
		s.problem(w, r, v, statusOf(err), "Not approved", strings.TrimPrefix(err.Error(), ErrStale.Error()+": "))
	case job == "":
		s.problem(w, r, v, http.StatusNotFound, "There is no such plan", noPlan)
	default:
		r.PostForm.Set("back", pageOfJob(job))
		done(w, r, "approve")
	}
}

// planView is the page of a plan.
type planView struct {
	*head
	ID, Job, Link              string
	State, Tone                string
	Asked, Ended, Approved     moment
	Expires                    moment
	By, ApprovedBy             string
	Progress, Totals, Wrong    string
	Done, Whole                int
	Actions                    []actionView
	Pager                      pager
	Approves, None, UnderWay   bool
	Imports, Elsewhere, Refuse string
}

func (s *Server) planScreen(ctx context.Context, u *url.URL, v viewer, status *record.Snapshot, j *record.JobStatus) (*screen, error) {
	id := u.Query().Get("plan")
	wanted, _ := strconv.Atoi(u.Query().Get("page")) // the first, unless it is a number
	from := max(0, min(wanted-1, maxTagPages)) * pagePlan
	plan, found, err := s.options.Daemon.PlanStatus(ctx, id, from, pagePlan)
	if err != nil {
		return nil, err
	}
	if !found || plan.Job != j.Job {
		return nil, errNoPlan
	}
	list := sheet{Whole: plan.Whole, Size: pagePlan, Noun: "action"}.at(u.Query().Get("page"))
	if list.begin() != from {
		if plan, found, err = s.options.Daemon.PlanStatus(ctx, id, list.begin(), pagePlan); err != nil || !found {
			return nil, cmp.Or(err, errNoPlan)
		}
	}
	at := func(page int) string {
		more := url.Values{"plan": {id}}
		if page > 1 {
			more.Set("page", strconv.Itoa(page))
		}
		return showing(u, "plan", more)
	}
	here, _ := url.Parse(at(list.Page)) // it is one
	p := &planView{
		head: s.headOf(status, v, "", here), ID: id, Job: clean(j.Job), Link: (&url.URL{Path: u.Path, RawPath: u.RawPath}).String(),
		State: planText(plan.State), Tone: planTone(plan.State), Asked: since(plan.Asked, status.Now), Ended: since(plan.Ended, status.Now), Approved: since(plan.Approved, status.Now),
		Expires: till(plan.Expires, status.Now), By: clean(plan.By), ApprovedBy: clean(plan.ApprovedBy), Wrong: clean(plan.Error), Totals: plannedText(plan.Counts),
		Pager: list.pager(at), UnderWay: plan.State == record.PlanUnderWay, Imports: number(int64(plan.Imports), "import"),
	}
	p.Title = p.Job + ": plan " + p.State
	if plan.Progress != nil {
		v := progressOf(&record.JobStatus{Progress: plan.Progress}, status.Now)
		p.Progress, p.Done, p.Whole = v.Text, plan.Progress.Observed, plan.Progress.Tags
		if plan.Progress.Imports > 0 {
			p.Progress = "finds out what " + number(int64(plan.Progress.Imports), "import") + " would cost"
		}
	}
	for i := range plan.Actions {
		p.Actions = append(p.Actions, plannedOf(&plan.Actions[i]))
	}
	p.None = plan.State != record.PlanUnderWay && plan.State != record.PlanFailed && plan.Whole == 0
	switch {
	case plan.State != record.PlanMade || plan.Imports == 0:
	case status.Ledger != nil:
		p.Elsewhere = "Where replicas share the jobs, a plan cannot be approved here: make it with dray plan --out FILE, and its imports with dray sync FILE."
	case v.May:
		p.Approves = true
	default:
		p.Refuse = v.Why
	}
	return &screen{template: "plan", data: p, head: p.head, parts: []part{{"notices", "notices", p.head}, {"plan", "plan-state", p}, {"approve", "plan-approve", p}, {"planned", "plan-actions", p}, {"pager", "pager", p.Pager}}}, nil
}

func planText(state record.PlanState) string {
	if state == record.PlanUnderWay {
		return "under way"
	}
	return string(state)
}

func planTone(state record.PlanState) string {
	switch state {
	case record.PlanUnderWay:
		return "busy"
	case record.PlanFailed:
		return "bad"
	case record.PlanApproved:
		return "good"
	case record.PlanMade:
	}
	return ""
}

// plannedText says what a plan would do.
func plannedText(c record.Counts) string {
	var parts []string
	for _, p := range []struct {
		count int
		word  string
	}{{c.Import, "to import"}, {c.Keep, "to keep"}, {c.Refuse, "refused"}, {c.Failed, "failed"}, {c.Deferred, "deferred"}, {c.Pulls, "pulls"}} {
		if p.count > 0 {
			parts = append(parts, thousands(int64(p.count))+" "+p.word)
		}
	}
	if c.Bytes > 0 {
		parts = append(parts, size(c.Bytes)+" at most")
	}
	return strings.Join(parts, ", ")
}

// plannedOf shows an action of a plan.
func plannedOf(a *record.Action) actionView {
	v := actionOf(a)
	if a.Outcome == "" {
		v.Outcome = clean(a.Op)
	}
	if a.Outcome == "" && a.Op == "refuse" {
		v.Tone = "wait"
	}
	return v
}

// planLink leads to a plan.
type planLink struct {
	Link, State, Tone, By string
	Asked                 moment
}

// plansOf returns the newest plans of a job.
func (s *Server) plansOf(ctx context.Context, u *url.URL, status *record.Snapshot, job string) (links []planLink, err error) {
	list, err := s.options.Daemon.Plans(ctx, job)
	for _, p := range list[:min(len(list), plansShown)] {
		links = append(links, planLink{showing(u, "plan", url.Values{"plan": {p.ID}}), planText(p.State), planTone(p.State), clean(p.By), since(p.Asked, status.Now)})
	}
	return links, err
}
