package web

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/draysync/dray/internal/record"
)

func exposedRequest(t *testing.T, method, path, body string) (*http.Request, *httptest.ResponseRecorder) {
	t.Helper()
	ctx := context.WithValue(t.Context(), policyKey{}, policyOf(&net.TCPAddr{IP: net.IPv4(10, 0, 0, 1)}, ""))
	r := httptest.NewRequestWithContext(ctx, method, path, strings.NewReader(body))
	r.Host = "10.0.0.1"
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r, httptest.NewRecorder()
}

// listening is an open stream of changes.
type listening struct {
	t    *testing.T
	conn net.Conn
	body *bufio.Reader
}

// follow opens a stream over a listener without sockets, and returns its status.
func follow(t *testing.T, p *pipes, at string) (*listening, int) {
	t.Helper()
	conn := p.dial()
	go func() { _, _ = fmt.Fprintf(conn, "GET /events?at=%s HTTP/1.1\r\nHost: localhost\r\n\r\n", at) }() // the server may be gone
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	return &listening{t, conn, bufio.NewReader(response.Body)}, response.StatusCode
}

// next returns the next change, or the next other line; io.EOF where the stream ends.
func (l *listening) next() (change, string, error) {
	l.t.Helper()
	for {
		line, err := l.body.ReadString('\n')
		if err != nil {
			return change{}, "", io.EOF
		}
		line = strings.TrimSuffix(line, "\n")
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			var c change
			if err := json.Unmarshal([]byte(data), &c); err != nil {
				l.t.Fatal(err)
			}
			return c, "", nil
		}
		if line != "" {
			return change{}, line, nil
		}
	}
}

// inTime runs a test in virtual time, with a daemon that is changed by what then does.
func inTime(t *testing.T, limits Limits, test func(t *testing.T, s *Server, p *pipes, d *stage)) {
	synctest.Test(t, func(t *testing.T) {
		daemon := newStage(world(20))
		s := New(Options{Daemon: daemon, Details: fakeDetails{}, Log: quiet(), Limits: limits})
		p, ended := newPipes(), make(chan error, 1)
		go func() { ended <- s.Serve(p) }()
		test(t, s, p, daemon)
		if err := s.Shutdown(t.Context()); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-ended; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
}

// A listener is sent all of the page first, and then what has changed, and no more.
func TestChanges(t *testing.T) {
	inTime(t, Limits{}, func(t *testing.T, s *Server, p *pipes, daemon *stage) {
		l, status := follow(t, p, "/")
		if status != 200 {
			t.Fatalf("status %d", status)
		}
		if _, line, _ := l.next(); line != "retry: 3000" {
			t.Errorf("first comes %q", line)
		}
		first, _, _ := l.next()
		if len(first.Rows) != 20 || len(first.Parts) != 26 || first.Title != "dray: 1 failing" || !strings.Contains(first.Parts["moving"], "34.1 MB of 120 MB") {
			t.Errorf("first come %d rows, %d parts, %q", len(first.Rows), len(first.Parts), first.Title)
		}
		// The time goes on, and is no change.
		daemon.then(func(s *record.Snapshot) { s.Now = s.Now.Add(time.Minute) })
		if _, line, _ := l.next(); line != ": all is well" {
			t.Errorf("where nothing changes comes %q", line)
		}
		daemon.then(func(s *record.Snapshot) { jobIn(s, "library/image-00010").Failures = 2 })
		second, _, _ := l.next()
		id := idOf("job", "library/image-00010")
		if len(second.Parts) != 3 || second.Parts["counters"] == "" || second.Parts["failing"] == "" || !strings.Contains(second.Parts[id], "image-00010") || slices.Index(second.Rows, id) != 0 {
			t.Errorf("then come %v of %v", second.Parts, second.Rows)
		}
		l.conn.Close()
	})
}

// A listener hears of its page only, and is told no secret of others'.
func TestChangesOfPages(t *testing.T) {
	inTime(t, Limits{}, func(t *testing.T, s *Server, p *pipes, daemon *stage) {
		for at, part := range map[string]string{"/jobs/alpine": "state", "/budgets": "budgets", "/registries": "registries", "/config": "loaded", "/?q=nothing": "none"} {
			l, _ := follow(t, p, strings.ReplaceAll(at, "?", "%3F"))
			_, _, _ = l.next()
			if c, _, err := l.next(); c.Parts[part] == "" {
				t.Errorf("%s: %v, %v", at, c.Parts, err)
			}
			l.conn.Close()
		}
		for _, at := range []string{"", "http://evil.example/", "//evil.example/", "jobs"} {
			if l, status := follow(t, p, at); status != 400 {
				t.Errorf("at %q: status %d", at, status)
			} else {
				l.conn.Close()
			}
		}
		l, _ := follow(t, p, "/jobs/none") // a page that is no more
		_, _, _ = l.next()
		if c, line, err := l.next(); !errors.Is(err, io.EOF) {
			t.Errorf("of no page come %v, %q", c, line)
		}
		l.conn.Close()
	})
}

// There are only so many listeners, for so long, and none costs anything once it is gone.
func TestChangesAreBounded(t *testing.T) {
	inTime(t, Limits{Listeners: 2, Listen: time.Minute}, func(t *testing.T, s *Server, p *pipes, daemon *stage) {
		began := time.Now()
		first, _ := follow(t, p, "/")
		second, _ := follow(t, p, "/")
		third, status := follow(t, p, "/")
		if status != 503 {
			t.Errorf("the third is answered %d", status)
		}
		third.conn.Close()
		for _, l := range []*listening{first, second} {
			go func() {
				for err := error(nil); err == nil; _, _, err = l.next() {
				}
			}()
		}
		// Two listeners cost no more than one.
		asked := daemon.asked.Load()
		time.Sleep(30 * time.Second)
		if n := daemon.asked.Load() - asked; n < 25 || n > 35 {
			t.Errorf("the daemon was asked %d times in 30 s", n)
		}
		time.Sleep(31 * time.Second)
		if n := len(s.listeners); n != 0 {
			t.Errorf("after %v there are still %d", time.Since(began), n)
		}
		asked = daemon.asked.Load()
		time.Sleep(time.Hour)
		s.snapshots.mu.Lock()
		kept := s.snapshots.last != nil
		s.snapshots.mu.Unlock()
		if n := daemon.asked.Load() - asked; n != 0 || kept {
			t.Errorf("while nobody listened the daemon was asked %d times", n)
		}
		first.conn.Close()
		second.conn.Close()
	})
}

// Who does not read what it is sent is dropped, and holds nobody up.
func TestChangesSlowReader(t *testing.T) {
	inTime(t, Limits{}, func(t *testing.T, s *Server, p *pipes, daemon *stage) {
		slow, _ := follow(t, p, "/")
		time.Sleep(writeLasts + time.Second)
		if n := len(s.listeners); n != 0 {
			t.Errorf("%d listeners that read nothing are kept", n)
		}
		slow.conn.Close()
		gone, _ := follow(t, p, "/")
		gone.conn.Close()
		time.Sleep(busyTick)
		if n := len(s.listeners); n != 0 {
			t.Errorf("%d listeners that are gone are kept", n)
		}
	})
}

// A stop of the server ends all listening at once.
func TestChangesEndWithServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Daemon: newStage(world(3)), Log: quiet()})
		p, ended := newPipes(), make(chan error, 1)
		go func() { ended <- s.Serve(p) }()
		l, _ := follow(t, p, "/")
		_, _, _ = l.next()
		_, _, _ = l.next()
		go func() { _, _, _ = l.next() }()
		synctest.Wait()
		began := time.Now()
		if err := s.Shutdown(t.Context()); err != nil || time.Since(began) > time.Second {
			t.Errorf("the shutdown took %v: %v", time.Since(began), err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		l.conn.Close()
	})
}
