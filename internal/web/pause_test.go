package web

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/record"
)

// pausable is a daemon that pauses jobs.
type pausable struct {
	fake
	own map[string]record.Pause
}

func newPausable(jobs ...string) *pausable {
	p := &pausable{own: map[string]record.Pause{}}
	p.jobs = jobs
	p.pause = func(job string, pause *record.Pause) (bool, error) {
		if job == "broken" {
			return true, errors.New("the store cannot be written")
		}
		if pause == nil {
			delete(p.own, job)
		} else {
			pause.Since, pause.All = noon, job == ""
			p.own[job] = *pause
		}
		for _, name := range append([]string{""}, jobs...) {
			if name == job {
				return true, nil
			}
		}
		return false, nil
	}
	p.status = func(context.Context) (s record.Snapshot, err error) {
		if all, ok := p.own[""]; ok {
			s.Paused = &all
		}
		for _, name := range jobs {
			j := record.JobStatus{Job: name, State: record.JobIdle, Paused: s.Paused}
			if own, ok := p.own[name]; ok {
				j.Paused = &own
			}
			s.Jobs = append(s.Jobs, j)
		}
		return s, nil
	}
	return p
}

func TestPause(t *testing.T) {
	address := start(t, Options{Daemon: newPausable("alpine", "library/x")})
	client := NewClient(address, "")
	defer client.Close()
	for _, step := range []struct {
		name string
		do   func() (Paused, error)
		want Paused
	}{
		{"a job", func() (Paused, error) { return client.Pause(t.Context(), "library/x", "ann@laptop", "it moves\x1b[2J") },
			Paused{Job: "library/x", Paused: &record.Pause{Since: past(noon), By: "ann@laptop (127.0.0.1)", Reason: "it moves\ufffd[2J"}}},
		{"all", func() (Paused, error) { return client.Pause(t.Context(), "", "", "") }, Paused{Paused: &record.Pause{Since: past(noon), By: "127.0.0.1", All: true}}},
		{"another job", func() (Paused, error) { return client.Resume(t.Context(), "alpine", "") }, Paused{Job: "alpine", Paused: &record.Pause{Since: past(noon), By: "127.0.0.1", All: true}}},
		{"all again", func() (Paused, error) { return client.Resume(t.Context(), "", "") }, Paused{Jobs: []string{"library/x"}}},
		{"the job again", func() (Paused, error) { return client.Resume(t.Context(), "library/x", "") }, Paused{Job: "library/x"}},
	} {
		got, err := step.do()
		step.want.Version = 1
		if step.want.Jobs == nil {
			step.want.Jobs = []string{}
		}
		if d := cmp.Diff(step.want, got); d != "" || err != nil {
			t.Error(step.name, err, d)
		}
	}
	_, err := client.Pause(t.Context(), "alpin", "", "")
	if unknown, ok := errors.AsType[*UnknownJobError](err); !ok || len(unknown.Nearest) != 1 {
		t.Error(err)
	}
	if _, err := client.Pause(t.Context(), "broken", "", ""); err == nil || !strings.Contains(err.Error(), "answers 500: the store cannot be written") {
		t.Error(err)
	}
	if _, err := client.Pause(t.Context(), "", "", strings.Repeat("x", MaxReason+1)); err == nil || !strings.Contains(err.Error(), "answers 400: reason is a text of at most 1000 bytes") {
		t.Error(err)
	}
	for path, want := range map[string]int{
		"pause?by=" + strings.Repeat("x", maxBy+1): 400, "resume?by=" + strings.Repeat("x", maxBy+1): 400, "pause?reason=%ff": 400, "jobs/alpine/pauses": 404, "jobs//pause": 404,
		"jobs/alpine/pause?" + url.Values{"reason": {"why"}}.Encode(): 200,
	} {
		if r, body := ask(t, "POST", "http://"+address+"/api/v1/"+path, nil); r.StatusCode != want {
			t.Errorf("%s: %d %s", path, r.StatusCode, body)
		}
	}
	if r, _ := ask(t, "GET", "http://"+address+"/api/v1/pause", nil); r.StatusCode != http.StatusMethodNotAllowed || r.Header.Get("Allow") != "POST" {
		t.Error(r.StatusCode, r.Header)
	}
}

// A pause needs what every POST needs.
func TestPauseNeedsTheToken(t *testing.T) {
	p := newPausable("alpine")
	address := start(t, Options{Daemon: p, Token: "secret"})
	for _, path := range []string{"pause", "resume", "jobs/alpine/pause", "jobs/alpine/resume"} {
		if r, _ := ask(t, "POST", "http://"+address+"/api/v1/"+path, nil); r.StatusCode != http.StatusUnauthorized {
			t.Error(path, r.StatusCode)
		}
		if r, _ := ask(t, "POST", "http://"+address+"/api/v1/"+path, nil, "Authorization: Bearer secret", "Sec-Fetch-Site: cross-site"); r.StatusCode != http.StatusForbidden {
			t.Error(path, r.StatusCode)
		}
	}
	if len(p.own) > 0 {
		t.Error(p.own)
	}
}
