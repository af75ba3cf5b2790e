package web

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	cdpbrowser "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/record"
)

var shots = flag.String("shots", "", "write pictures of the pages to this folder")

// stage is a daemon whose status a test changes.
type stage struct {
	*fake
	mu     sync.Mutex
	change []func(*record.Snapshot)
	base   func() record.Snapshot
}

func newStage(base func() record.Snapshot) *stage {
	s := &stage{base: base, fake: fullDaemon()}
	s.fake.status = func(context.Context) (record.Snapshot, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		status := s.base()
		for _, change := range s.change {
			change(&status)
		}
		return status, nil
	}
	for _, j := range base().Jobs {
		s.fake.jobs = append(s.fake.jobs, j.Job)
	}
	return s
}

// then has the daemon be different from now on.
func (s *stage) then(change func(*record.Snapshot)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.change = append(s.change, change)
}

func jobIn(s *record.Snapshot, name string) *record.JobStatus {
	i := slices.IndexFunc(s.Jobs, func(j record.JobStatus) bool { return j.Job == name })
	return &s.Jobs[i]
}

// world is as a daemon is that has some work.
func world(n int) func() record.Snapshot {
	return func() record.Snapshot {
		s := full()
		s.Config.Rejected, s.Config.RejectedAt, s.Closed = nil, time.Time{}, nil
		s.Jobs = slices.DeleteFunc(s.Jobs, func(j record.JobStatus) bool { return j.Job == hostile || j.State == record.JobPaused })
		s.Paused = nil
		for i := range s.Jobs {
			s.Jobs[i].Paused = nil
		}
		for i := len(s.Jobs); i < n; i++ {
			name := fmt.Sprintf("library/image-%05d", i)
			s.Jobs = append(s.Jobs, record.JobStatus{
				Job: name, Schedule: "17 */6 * * *", Source: "docker.io/" + name, Targets: []string{fmt.Sprintf("registry-%d.corp.example:5000/mirror/%s", i%3, name)},
				State: record.JobScheduled, Due: noon.Add(time.Duration(i+90) * time.Second), Trigger: record.Scheduled, LastSuccess: noon.Add(-time.Hour),
				Last: &record.Run{Started: noon.Add(-time.Hour), Ended: noon.Add(-time.Hour), Outcome: record.RunOK, Counts: record.Counts{Keep: i%40 + 1}},
			})
		}
		s.Jobs = s.Jobs[:min(n, len(s.Jobs))]
		if n == 1 {
			s.Jobs[0].State, s.Jobs[0].Progress = record.JobIdle, nil
		}
		return s
	}
}

// browser is a Chromium for all tests.
type browser struct{ ctx context.Context }

func newBrowser(t *testing.T) *browser {
	path := fulltest.Program(t, "chromium", "Debian's chromium")
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox) // CI is root
	ctx, cancel := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if _, err := chromedp.CallBrowser(ctx, cdpbrowser.GetVersion, cdp.Empty{}); err != nil {
		t.Fatalf("chromium: %v", err)
	}
	return &browser{ctx}
}

// tab is a page of the browser that is open.
type tab struct {
	t   *testing.T
	ctx context.Context
	// address is the server's.
	address string

	mu sync.Mutex
	// wrong are errors on the console, and requests to elsewhere.
	wrong []string
}

// show serves on the loopback and returns the address. Browsers keep connections open, also such as nothing was said on: they are cut off.
func show(t *testing.T, options Options) string {
	t.Helper()
	listener, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stop := present(options, listener)
	t.Cleanup(stop)
	return listener.Addr().String()
}

func present(options Options, listener net.Listener) (stop func()) {
	options.Log = quiet()
	s := New(options)
	ended := make(chan struct{})
	go func() { defer close(ended); _ = s.Serve(listener) }() // until it is stopped
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		_ = s.Shutdown(ctx) // it cuts off
		<-ended
	}
}

type look struct {
	width, height int64
	dark          bool
}

func (b *browser) open(t *testing.T, address string, l look) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 15*time.Minute)
	t.Cleanup(cancel)
	tb := &tab{t: t, ctx: ctx, address: address}
	if err := chromedp.Listen(ctx, tb.hear); err != nil {
		t.Fatal(err)
	}
	scheme := "light"
	if l.dark {
		scheme = "dark"
	}
	call(tb, network.Enable, network.EnableParams{})
	call(tb, log.Enable, cdp.Empty{})
	call(tb, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: l.width, Height: l.height, DeviceScaleFactor: 1, Mobile: l.width < 600})
	call(tb, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
	t.Cleanup(func() {
		tb.mu.Lock()
		defer tb.mu.Unlock()
		for _, wrong := range tb.wrong {
			t.Error(wrong)
		}
	})
	return tb
}

// call sends a command of the browser's protocol.
func call[P, R any](tb *tab, command cdp.Command[P, R], params P) R {
	tb.t.Helper()
	result, err := chromedp.Call(tb.ctx, command, params)
	if err != nil {
		tb.t.Fatalf("%s: %v", command.Method, err)
	}
	return result
}

// eval returns what an expression is in the page.
func eval[T any](tb *tab, expression string) T {
	tb.t.Helper()
	result, err := chromedp.Run(tb.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		tb.t.Fatalf("%s: %v", expression, err)
	}
	return result
}

func (tb *tab) hear(event any) {
	wrong := ""
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		wrong = "the script fails: " + fmt.Sprintf("%+v", e.ExceptionDetails)
	case *runtime.EventConsoleAPICalled:
		wrong = fmt.Sprintf("the console says %s: %v", e.Type, e.Args)
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError && !strings.Contains(e.Entry.Text, "status of 4") {
			wrong = "the browser says: " + e.Entry.Text
		}
	case *network.EventRequestWillBeSent:
		if !strings.HasPrefix(e.Request.URL, "http://"+tb.address+"/") {
			wrong = "a request elsewhere: " + e.Request.URL
		}
	}
	if wrong != "" {
		tb.mu.Lock()
		defer tb.mu.Unlock()
		tb.wrong = append(tb.wrong, wrong)
	}
}

func (tb *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	tb.t.Helper()
	if err := chromedp.Do(tb.ctx, actions...); err != nil {
		tb.t.Fatal(err)
	}
}

func (tb *tab) visit(path string) {
	tb.t.Helper()
	tb.do(chromedp.Navigate("http://" + tb.address + path))
}

// live waits until the page has heard of a first change.
func (tb *tab) live() {
	tb.t.Helper()
	tb.wait(`document.getElementById('live').textContent === 'Live'`)
}

// wait waits until a condition holds, also in a page that follows.
func (tb *tab) wait(condition string) {
	tb.t.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	late := time.After(5 * time.Minute)
	for {
		// While a page gives way to the next there is none to ask.
		if ok, err := chromedp.Run(tb.ctx, chromedp.Evaluate[bool](condition)); err == nil && ok {
			return
		}
		select {
		case <-again.C:
		case <-late:
			tb.t.Fatalf("it is never so that %s; the page shows\n%s", condition, tb.text())
		}
	}
}

func (tb *tab) text() string {
	tb.t.Helper()
	return eval[string](tb, `document.body.innerText`)
}

// expect checks what an expression is, as text.
func (tb *tab) expect(expression, want string) {
	tb.t.Helper()
	if got := eval[string](tb, `String(`+expression+`)`); got != want {
		tb.t.Errorf("%s is %q, want %q", expression, got, want)
	}
}

// submit clicks as a mouse does, and waits for the page that follows.
func (tb *tab) submit(selector string) {
	tb.t.Helper()
	eval[bool](tb, `window.before = true`)
	tb.do(chromedp.Click(chromedp.CSS(selector)))
	tb.wait(`!window.before && document.readyState === 'complete'`)
}

const axeVariable = "DRAY_AXE"

// axe returns the accessibility checker.
func axe(t *testing.T) string {
	t.Helper()
	path := os.Getenv(axeVariable)
	if path == "" {
		t.Fatalf("set %s to the file axe.min.js of axe-core, as .ci/run does", axeVariable)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// accessible checks that what is shown is no wider than the screen and, if there is a checker, that everybody can use it.
func (tb *tab) accessible(axe string) {
	tb.t.Helper()
	tb.expect(`document.documentElement.scrollWidth <= innerWidth`, "true")
	if axe == "" {
		return
	}
	var found []struct {
		ID    string `json:"id"`
		Help  string `json:"help"`
		Nodes []struct {
			HTML    string `json:"html"`
			Summary string `json:"failureSummary"`
		} `json:"nodes"`
	}
	eval[chromedp.Void](tb, axe+"\n;undefined")
	result := eval[string](tb, `axe.run(document, {resultTypes: ['violations']}).then((r) => JSON.stringify(r.violations))`)
	if err := json.Unmarshal([]byte(result), &found); err != nil {
		tb.t.Fatal(err)
	}
	for _, f := range found {
		tb.t.Errorf("axe: %s: %s: %+v", f.ID, f.Help, f.Nodes)
	}
}

// picture writes what is shown, if somebody wants to look at it.
func (tb *tab) picture(name string) {
	tb.t.Helper()
	if *shots == "" {
		return
	}
	data, err := chromedp.Run(tb.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		tb.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(*shots, name+".png"), data, 0o644); err != nil {
		tb.t.Fatal(err)
	}
}

var (
	phone   = look{width: 390, height: 844}
	desktop = look{width: 1280, height: 900}
)

func TestBrowser(t *testing.T) {
	b := newBrowser(t)
	t.Run("looks", b.looks)
	t.Run("typing", b.typing)
	t.Run("rows stay under the mouse", b.rowsStay)
	t.Run("actions", b.actions)
	t.Run("signing in", b.signingIn)
	t.Run("without script", b.withoutScript)
	t.Run("daemon is away", b.away)
}

// Each page, on a phone and a desk, light and dark.
func (b *browser) looks(t *testing.T) {
	check := axe(t)
	worlds := map[string]string{
		"rejected": show(t, Options{Daemon: newStage(full), Details: fakeDetails{}}),
		"signing":  show(t, Options{Daemon: newStage(world(3)), Details: fakeDetails{}, Token: token}),
	}
	for name, n := range map[string]int{"1": 1, "12": 12, "300": 300, "10000": 10_000} {
		worlds[name] = show(t, Options{Daemon: newStage(world(n)), Details: fakeDetails{}})
	}
	alone := newStage(world(12))
	alone.then(func(s *record.Snapshot) { s.Ledger, s.Replicas = nil, nil })
	worlds["alone"] = show(t, Options{Daemon: alone, Details: fakeDetails{}})
	pages := []struct {
		name, world, path string
		picture           bool // only that
	}{
		{"overview-1", "1", "/", true}, {"overview-12", "12", "/", false}, {"overview-300", "300", "/", true}, {"overview-10000", "10000", "/?page=3", true}, {"grouped", "12", "/?group=target&sort=job", false},
		{"job", "12", "/jobs/alpine", false}, {"tags", "12", "/jobs/alpine?show=tags", false}, {"plan", "alone", "/jobs/alpine?show=plan&plan=PLAN1", false}, {"failing", "12", "/jobs/failing", true}, {"budgets", "12", "/budgets", false}, {"registries", "12", "/registries", false},
		{"config", "rejected", "/config", false}, {"overview-rejected", "rejected", "/", true}, {"none", "12", "/jobs/none", true}, {"signin", "signing", "/signin", false},
	}
	for _, l := range []look{phone, desktop, {phone.width, phone.height, true}, {desktop.width, desktop.height, true}} {
		tb := b.open(t, "", l)
		for _, p := range pages {
			// Sizes have one tree and colours one layout, so that two of the four looks see all of both.
			check := check
			if p.picture || l.dark != (l.width == desktop.width) {
				check = ""
			}
			if check == "" && *shots == "" && p.name != "overview-12" {
				continue
			}
			tb.address = worlds[p.world]
			tb.visit(p.path)
			tb.accessible(check)
			tb.picture(fmt.Sprintf("%s-%d-dark-%t", p.name, l.width, l.dark))
		}
	}
}

// What somebody types, where the focus is and how far they have scrolled stays while the page changes, and nothing is moved by that.
func (b *browser) typing(t *testing.T) {
	daemon := newStage(world(300))
	tb := b.open(t, show(t, Options{Daemon: daemon, Details: fakeDetails{}}), desktop)
	// What is said about times stays, however long this takes: it may need another line.
	call(tb, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: `{ const now = Date.now(); Date.now = () => now; }`})
	tb.visit("/")
	tb.live()
	eval[chromedp.Void](tb, `window.shifted = 0; new PerformanceObserver((l) => { for (const e of l.getEntries()) if (!e.hadRecentInput) shifted += e.value; }).observe({type: 'layout-shift'}); undefined`)
	tb.do(chromedp.SendKeys(chromedp.CSS("#q"), "alp"))
	eval[chromedp.Void](tb, `document.getElementById('q').setSelectionRange(1, 2); scrollTo(0, 300); undefined`)
	for i, want := range []string{"99.1 MB of 120 MB", "101 MB of 120 MB"} {
		daemon.then(func(s *record.Snapshot) {
			jobIn(s, "alpine").Progress.UnderWay[0].Bytes = 99_100_000 + 2_000_000*int64(i)
			jobIn(s, "library/image-00009").State = record.JobDeferred
		})
		tb.wait(`document.getElementById('moving').textContent.includes('` + want + `')`)
	}
	daemon.then(func(s *record.Snapshot) { jobIn(s, "alpine").Progress.UnderWay = nil })
	tb.wait(`document.getElementById('moving').textContent.includes('Nothing is being imported')`)
	tb.expect(`document.getElementById('counters').innerText.includes('2\ndeferred')`, "true")
	tb.expect(`document.activeElement.id + document.activeElement.value + document.activeElement.selectionStart + document.activeElement.selectionEnd`, "qalp12")
	tb.expect(`scrollY`, "300")
	tb.do(chromedp.SendKeys(chromedp.CSS("#q"), "ine"))
	tb.expect(`document.getElementById('q').value`, "ainep")
	if shifted := eval[float64](tb, `shifted`); shifted > 0.01 {
		t.Errorf("the layout has shifted by %v", shifted)
	}

	tb.visit("/jobs/alpine")
	tb.live()
	tb.do(chromedp.SendKeys(chromedp.CSS("#tag"), "3.2"))
	daemon.then(func(s *record.Snapshot) {
		jobIn(s, "alpine").Failures, jobIn(s, "alpine").Last.Outcome = 4, record.RunPartly
	})
	tb.wait(`document.getElementById('state').textContent.includes('4 times in a row') && document.querySelectorAll('#actions form').length === 5`)
	tb.expect(`document.activeElement.id + document.activeElement.value`, "tag3.2")
	tb.wait(`document.title === 'dray: alpine: running'`)
}

// A row that somebody points at stays where it is; what it says changes at once.
func (b *browser) rowsStay(t *testing.T) {
	daemon := newStage(world(20))
	tb := b.open(t, show(t, Options{Daemon: daemon, Details: fakeDetails{}}), desktop)
	tb.visit("/?q=image")
	tb.live()
	const first = `document.querySelector('#rows th a').textContent`
	tb.expect(first, "library/image-00006")
	at := eval[[]float64](tb, `(() => { const r = document.querySelector('#rows tr').getBoundingClientRect(); return [r.x + 300, r.y + 20]; })()`)
	call(tb, input.DispatchMouseEvent, input.DispatchMouseEventParams{Type: input.DispatchMouseEventTypeMouseMoved, X: at[0], Y: at[1]})
	daemon.then(func(s *record.Snapshot) { jobIn(s, "library/image-00015").Failures = 1 })
	daemon.then(func(s *record.Snapshot) { jobIn(s, "library/image-00006").State = record.JobWaiting })
	tb.wait(`document.querySelector('#rows tr').textContent.includes('waiting')`)
	tb.expect(first, "library/image-00006")
	call(tb, input.DispatchMouseEvent, input.DispatchMouseEventParams{Type: input.DispatchMouseEventTypeMouseMoved, X: 5, Y: 5})
	tb.wait(first + ` === 'library/image-00015'`)
}

// Each thing that can be done, and what is said then.
func (b *browser) actions(t *testing.T) {
	daemon := newStage(world(20))
	daemon.fake.reload = func(context.Context) error {
		if daemon.reloads.Load() > 1 {
			return errors.New("dray.yaml:3:1: unknown key \"mapings\"")
		}
		return nil
	}
	daemon.fake.history = func(string, int) ([]record.JobRun, error) {
		return []record.JobRun{{Run: record.Run{Started: noon, Ended: noon, Counts: record.Counts{Failed: 1, Import: 1}}, Actions: []record.Action{
			{Source: "ghcr.io/acme/tool:1.1", Target: "r/tool:1.1", Outcome: record.Imported}, {Source: "ghcr.io/acme/tool:1.2", Target: "r/tool:1.2", Outcome: record.Failed, Error: "it broke"},
		}}}, nil
	}
	tb := b.open(t, show(t, Options{Daemon: daemon, Details: fakeDetails{}}), desktop)
	did := func(selector, want string) {
		t.Helper()
		tb.submit(selector)
		if text := tb.text(); !strings.Contains(text, want) {
			t.Errorf("%s: the page does not say %q:\n%s", selector, want, text)
		}
	}
	asked := func(jobs, tags string) {
		t.Helper()
		daemon.fake.mu.Lock()
		defer daemon.fake.mu.Unlock()
		if got := strings.Join(daemon.synced, " "); got != jobs {
			t.Errorf("jobs %q were asked to run, want %q", got, jobs)
		}
		if got := strings.Join(daemon.tags, " "); got != tags {
			t.Errorf("for the tags %q, want %q", got, tags)
		}
		daemon.synced, daemon.tags = nil, nil
	}
	tb.visit("/?q=hello")
	did(`button[value="library/hello-world"]`, "The job was asked to run.")
	asked("library/hello-world", "")
	tb.wait(`location.search === '?q=hello'`) // a link that is shared does not say so
	tb.visit("/")
	did(`#failing button`, "What failed was asked to run again.")
	asked("failing", "")

	tb.visit("/jobs/failing")
	did(`#actions form:nth-child(1) button`, "The job was asked to run.")
	asked("failing", "")
	tb.do(chromedp.SendKeys(chromedp.CSS("#tag"), "1.2"))
	did(`#actions form:nth-child(2) button`, "The job was asked to run.")
	asked("failing", "1.2")
	did(`form[action="/do/retry"] button`, "What failed was asked to run again.")
	asked("failing", "ghcr.io/acme/tool:1.2")
	tb.do(chromedp.SendKeys(chromedp.CSS("#tag"), "v9"))
	did(`#actions form:nth-child(2) button`, "the mapping does not choose v9")
	asked("", "")

	daemon.then(func(s *record.Snapshot) { s.Ledger = nil })
	as := func(change func(*record.PlanStatus)) {
		p := planned()
		change(&p)
		daemon.fake.mu.Lock()
		defer daemon.fake.mu.Unlock()
		daemon.fake.plan = &p
	}
	as(func(p *record.PlanStatus) {
		p.State, p.Actions, p.Progress = record.PlanUnderWay, nil, &record.Progress{Tags: 1000, Observed: 400}
	})
	tb.visit("/jobs/alpine")
	did(`form[action="/do/plan"] button`, "A plan is being made. It changes nothing.")
	tb.live()
	tb.wait(`document.getElementById('plan').textContent.includes('looked at 400 of 1\u202f000 tags')`)
	as(func(*record.PlanStatus) {})
	tb.wait(`document.querySelectorAll('#planned tbody tr').length === 100 && document.querySelector('#approve button') !== null`)
	did(`form[action="/do/approve"] button`, "The imports of the plan are being made, and no others.")
	tb.expect(`location.pathname`, "/jobs/alpine")
	if plans, approvals := daemon.plans.Load(), daemon.approvals.Load(); plans != 1 || approvals != 1 {
		t.Errorf("%d plans, %d approvals", plans, approvals)
	}

	paused := ""
	daemon.fake.pause = func(job string, p *record.Pause) (bool, error) {
		daemon.then(func(s *record.Snapshot) {
			s.Paused = p
			if job != "" {
				s.Paused, jobIn(s, job).Paused = nil, p
			}
		})
		paused = fmt.Sprintf("%s %+v", job, p)
		return true, nil
	}
	tb.visit("/jobs/failing")
	tb.do(chromedp.SendKeys(chromedp.CSS("#reason"), "a night off"))
	did(`form[action="/do/pause"] button`, "It is paused.")
	if !strings.Contains(paused, "failing ") || !strings.Contains(paused, "By:127.0.0.1 Reason:a night off") {
		t.Errorf("paused: %s", paused)
	}
	did(`form[action="/do/resume"] button`, "It is no longer paused.")
	if paused != "failing <nil>" {
		t.Errorf("resumed: %s", paused)
	}
	tb.visit("/")
	did(`form[action="/do/pause"] button`, "All jobs are paused")
	did(`form[action="/do/resume"] button`, "It is no longer paused.")
	tb.visit("/config")
	did(`main button`, "The config was read, and runs.")
	did(`main button`, "unknown key \"mapings\"")
}

// Where there is a token, nothing can be done before it is shown.
func (b *browser) signingIn(t *testing.T) {
	daemon := newStage(world(20))
	tb := b.open(t, show(t, Options{Daemon: daemon, Details: fakeDetails{}, Token: token}), phone)
	tb.visit("/jobs/alpine")
	tb.expect(`document.querySelectorAll('#actions button').length`, "0")
	tb.visit("/signin")
	tb.do(chromedp.SendKeys(chromedp.CSS("#token"), "something else"))
	tb.submit("main button")
	if !strings.Contains(tb.text(), "The token is wrong") {
		t.Error(tb.text())
	}
	tb.visit("/signin")
	tb.do(chromedp.SendKeys(chromedp.CSS("#token"), token))
	tb.submit("main button")
	if !strings.Contains(tb.text(), "You are signed in.") {
		t.Error(tb.text())
	}
	tb.expect(`document.cookie`, "")
	tb.visit("/jobs/alpine")
	tb.live() // a page that changes keeps its buttons
	tb.submit("#actions button")
	if n := daemon.changes(); n != 1 {
		t.Errorf("%d changes", n)
	}
	tb.submit("header button")
	tb.expect(`document.querySelectorAll('#actions button').length`, "0")
}

// Without a script all of it works, but by itself nothing changes.
func (b *browser) withoutScript(t *testing.T) {
	daemon := newStage(world(300))
	tb := b.open(t, show(t, Options{Daemon: daemon, Details: fakeDetails{}}), desktop)
	call(tb, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	tb.visit("/")
	tb.do(chromedp.SendKeys(chromedp.CSS("#q"), "image-0000"))
	follow := func(selector, path string) {
		t.Helper()
		tb.do(chromedp.Click(chromedp.CSS(selector)))
		tb.wait(`document.readyState === 'complete' && location.pathname + location.search === '` + path + `'`)
	}
	follow(".filter button", "/?q=image-0000&registry=")
	follow("thead th:nth-child(5) a", "/?q=image-0000&sort=next")
	tb.expect(`document.querySelectorAll('#rows tr').length`, "4")
	follow(`button[value="library/image-00007"]`, "/?did=sync&q=image-0000&sort=next")
	follow("#rows tr:nth-child(2) th a", "/jobs/library/image-00007")
	if n := daemon.changes(); n != 1 {
		t.Errorf("%d changes", n)
	}
	daemon.then(func(s *record.Snapshot) { s.Ledger = nil })
	tb.visit("/jobs/alpine")
	follow(`form[action="/do/plan"] button`, "/jobs/alpine?did=plan&plan=PLAN1&show=plan")
	follow(`#pager a[rel=next]`, "/jobs/alpine?page=2&plan=PLAN1&show=plan")
	tb.expect(`document.querySelectorAll('#planned tbody tr').length`, "50")
	follow(`form[action="/do/approve"] button`, "/jobs/alpine?did=approve")
	if n := daemon.changes(); n != 3 {
		t.Errorf("%d changes", n)
	}
}

// The page says when it hears nothing more, and goes on once it does.
func (b *browser) away(t *testing.T) {
	daemon := newStage(world(5))
	listener, err := Listen(t.Context(), "127.0.0.2:0") // where nobody else takes the port while it is away
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	stop := present(Options{Daemon: daemon}, listener)
	tb := b.open(t, address, desktop)
	tb.visit("/")
	tb.live()
	stop()
	tb.wait(`document.getElementById('live').textContent === 'Not live: no answer'`)
	if listener, err = Listen(t.Context(), address); err != nil {
		t.Fatal(err)
	}
	stop = present(Options{Daemon: daemon}, listener)
	t.Cleanup(stop)
	tb.live()
	tb.submit(`button[value="idle"]`) // its form is that of the new process
	if n := daemon.changes(); n != 1 {
		t.Errorf("%d changes", n)
	}
	tb.mu.Lock()
	tb.wrong = slices.DeleteFunc(tb.wrong, func(s string) bool { return strings.Contains(s, "ERR_") }) // it was away
	tb.mu.Unlock()
}
