package web

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/draysync/dray/internal/record"
)

const getHealth = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"

// Clients that take their time lose their connection, at the documented moment, and nobody waits for them.
func TestSlowClients(t *testing.T) {
	post := "POST /-/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n"
	tests := map[string]struct {
		say    string
		after  time.Duration
		answer string
	}{
		"says nothing":           {"", 5 * time.Second, ""},
		"half a request line":    {"GET /heal", 5 * time.Second, "400"},
		"half a header":          {"GET /healthz HTTP/1.1\r\nHost: local", 5 * time.Second, ""},
		"no body":                {post, 10 * time.Second, "408"},
		"half a body":            {post + "half", 10 * time.Second, "408"},
		"half a chunk":           {"POST /-/reload HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", 10 * time.Second, "408"},
		"no request after a one": {getHealth, time.Minute, "200"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				listener, daemon := newPipes(), &fake{}
				serve(t, Options{Daemon: daemon}, listener)
				slow, began := listener.dial(), time.Now()
				defer slow.Close()
				go func() { _, _ = io.WriteString(slow, test.say) }()
				ended := make(chan string)
				go func() {
					text, _ := io.ReadAll(slow)
					ended <- string(text)
				}()
				synctest.Wait()
				if response, _, err := say(listener.dial(), getHealth); err != nil || response.StatusCode != 200 || time.Since(began) > 0 {
					t.Errorf("others have to wait %v: %v", time.Since(began), err)
				}
				text := <-ended
				// A second's difference is what the server waits for its last words to be read.
				if took := time.Since(began); took < test.after || took > test.after+time.Second {
					t.Errorf("cut off after %v, want %v", took, test.after)
				}
				status, _, _ := strings.Cut(strings.TrimPrefix(text, "HTTP/1.1 "), " ")
				if status != test.answer {
					t.Errorf("answered %q", text)
				}
				if daemon.changes() != 0 {
					t.Error("the config was reloaded")
				}
			})
		})
	}
}

// A body that is announced to be too large is not waited for.
func TestLargeBodyAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		listener, daemon := newPipes(), &fake{}
		serve(t, Options{Daemon: daemon}, listener)
		conn, began := listener.dial(), time.Now()
		defer conn.Close()
		response, _, err := say(conn, "POST /-/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\n")
		if err != nil || response.StatusCode != 413 || time.Since(began) != 0 || daemon.changes() != 0 {
			t.Errorf("after %v: %v, %v", time.Since(began), response, err)
		}
	})
}

// Who does not read a long answer is cut off, and holds up nobody else.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		listener := newPipes()
		serve(t, Options{Daemon: &fake{status: many(2000)}}, listener)
		slow, began := listener.dial(), time.Now()
		go func() { _, _ = io.WriteString(slow, "GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n") }()
		synctest.Wait()
		for range 3 {
			response, body, err := say(listener.dial(), "GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
			if err != nil || response.StatusCode != 200 || !strings.HasSuffix(body, "]}\n") || time.Since(began) != 0 {
				t.Errorf("others get %d bytes after %v: %v", len(body), time.Since(began), err)
			}
		}
		time.Sleep(30*time.Second + time.Nanosecond)
		synctest.Wait()
		response, err := http.ReadResponse(bufio.NewReader(slow), nil)
		if err == nil {
			_, err = io.ReadAll(response.Body)
		}
		if err == nil {
			t.Error("the answer is whole after the time-out")
		}
	})
}

// While all turns are held by clients that do not read, others are told to come again, and what needs no turn is answered.
func TestSlowReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		listener, daemon := newPipes(), &fake{jobs: []string{"alpine"}, status: many(2000)}
		s := serve(t, Options{Daemon: daemon}, listener)
		for range 40 {
			slow := listener.dial()
			defer slow.Close()
			go func() { _, _ = io.WriteString(slow, "GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n") }()
		}
		synctest.Wait()
		if n := len(s.turns); n != 16 {
			t.Errorf("%d answers are made at once", n)
		}
		began := time.Now()
		if response, _, err := say(listener.dial(), "POST /api/v1/jobs/alpine/sync HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil || response.StatusCode != 202 || time.Since(began) != 0 {
			t.Errorf("a sync waits %v: %v", time.Since(began), err)
		}
		response, body, err := say(listener.dial(), "GET /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if err != nil || response.StatusCode != 503 || !strings.Contains(body, "too many requests at once") || time.Since(began) != 10*time.Second {
			t.Errorf("after %v: %s, %v", time.Since(began), body, err)
		}
		time.Sleep(time.Minute)
		if n := len(s.turns); n != 0 {
			t.Errorf("%d turns are never given back", n)
		}
	})
}

// Of 500 connections that say nothing, as many as have a slot lose it in time, and a request behind them all is answered.
func TestSilentCrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		listener := newPipes()
		s := serve(t, Options{Daemon: &fake{}}, listener)
		began := time.Now()
		var crowd sync.WaitGroup
		for range 500 {
			crowd.Go(func() {
				client, server := net.Pipe()
				listener.conns <- server
				_, _ = io.Copy(io.Discard, client)
			})
		}
		synctest.Wait()
		if n := s.conns.Taken(); n != 256 {
			t.Errorf("%d have a slot", n)
		}
		response, _, err := say(listener.dial(), strings.Replace(getHealth, "\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1))
		if took := time.Since(began); err != nil || response.StatusCode != 200 || took > 11*time.Second {
			t.Errorf("answered after %v: %v", took, err)
		}
		crowd.Wait()
		synctest.Wait()
		if n := s.conns.Taken(); n != 0 {
			t.Errorf("%d slots are never given back", n)
		}
	})
}

// 500 clients that keep their connections are all answered at once: one that idles makes room.
func TestIdleCrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		listener := newPipes()
		s := serve(t, Options{Daemon: &fake{}}, listener)
		began := time.Now()
		var kept []net.Conn
		for range 500 {
			conn := listener.dial()
			kept = append(kept, conn)
			if response, _, err := say(conn, getHealth); err != nil || response.StatusCode != 200 {
				t.Fatal(err)
			}
			synctest.Wait()
			if n := s.conns.Taken(); n > 256 {
				t.Fatalf("%d have a slot", n)
			}
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("took %v", took)
		}
		if _, err := kept[0].Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("the longest idle has its connection still: %v", err)
		}
		if response, _, err := say(kept[499], getHealth); err != nil || response.StatusCode != 200 {
			t.Errorf("the last has lost its connection: %v", err)
		}
		for _, conn := range kept {
			conn.Close()
		}
	})
}

// A connection that has a slot and begins to idle while others wait makes room at once.
func TestIdleMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		listener, daemon := newPipes(), &fake{}
		daemon.alive = func(context.Context) error { time.Sleep(time.Second); return nil }
		serve(t, Options{Daemon: daemon, Limits: Limits{Connections: 1}}, listener)
		began := time.Now()
		var clients sync.WaitGroup
		for range 2 {
			clients.Go(func() {
				conn := listener.dial()
				if response, _, err := say(conn, getHealth); err != nil || response.StatusCode != 200 {
					t.Errorf("not answered: %v", err)
				}
			})
		}
		clients.Wait()
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("two in turn take %v", took)
		}
	})
}

// 500 real connections at once are all answered, and the daemon is asked far less often.
func TestCrowd(t *testing.T) {
	var most, now atomic.Int64
	daemon := &fake{}
	daemon.status = func(context.Context) (record.Snapshot, error) {
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
		}
		defer now.Add(-1)
		return many(50)(nil)
	}
	address := start(t, Options{Daemon: daemon})
	var wrong atomic.Int64
	var crowd sync.WaitGroup
	for range 500 {
		crowd.Go(func() {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				wrong.Add(1)
				return
			}
			defer conn.Close()
			response, body, err := say(conn, "GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
			if err != nil || response.StatusCode != 200 || !strings.HasSuffix(body, "]}\n") {
				wrong.Add(1)
			}
		})
	}
	crowd.Wait()
	if wrong.Load() != 0 || most.Load() != 1 {
		t.Errorf("%d wrong answers; %d at once asked the daemon", wrong.Load(), most.Load())
	}
}

// A daemon that hangs is asked once at a time, and those who wait are told so.
func TestHangingDaemon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		listener, daemon := newPipes(), &fake{}
		daemon.status = func(ctx context.Context) (record.Snapshot, error) { <-ctx.Done(); return record.Snapshot{}, ctx.Err() }
		serve(t, Options{Daemon: daemon}, listener)
		began := time.Now()
		var crowd sync.WaitGroup
		for range 100 {
			crowd.Go(func() {
				conn := listener.dial()
				defer conn.Close()
				response, body, err := say(conn, "GET /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\n\r\n")
				if err != nil || response.StatusCode != 503 || response.Header.Get("Retry-After") != "1" || !strings.Contains(body, `"error"`) {
					t.Errorf("answered %s, %v", body, err)
				}
			})
		}
		synctest.Wait()
		if response, _, err := say(listener.dial(), getHealth); err != nil || response.StatusCode != 200 || time.Since(began) != 0 {
			t.Errorf("others wait: %v", err)
		}
		crowd.Wait()
		if took, n := time.Since(began), daemon.asked.Load(); took > 20*time.Second || n > 2 {
			t.Errorf("asked %d times in %v", n, took)
		}
		time.Sleep(10 * time.Second) // the last question ends by itself
	})
}

// What is asked while a status is on its way is answered with that.
func TestSharedStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		daemon := &fake{status: func(context.Context) (record.Snapshot, error) { time.Sleep(time.Second); return record.Snapshot{}, nil }}
		c := &snapshotCache{daemon: daemon, limit: time.Minute}
		var readers sync.WaitGroup
		for range 50 {
			readers.Go(func() {
				if _, err := c.status(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		impatient, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := c.status(impatient); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		readers.Wait()
		if n := daemon.asked.Load(); n != 1 {
			t.Errorf("asked %d times", n)
		}
		if _, err := c.status(t.Context()); err != nil || daemon.asked.Load() != 2 {
			t.Errorf("a later one gets the status of before; %v", err)
		}
	})
}

func TestLargeHeader(t *testing.T) {
	address := start(t, Options{Daemon: &fake{}})
	// The server itself allows 4 KiB beyond the limit.
	for size, want := range map[int]int{8 << 10: 200, 32 << 10: 431} {
		response, _ := ask(t, "GET", "http://"+address+"/healthz", nil, "X-Large: "+strings.Repeat("a", size))
		if response.StatusCode != want {
			t.Errorf("%d bytes of header are answered %d, want %d", size, response.StatusCode, want)
		}
	}
}

// A stop lets the answer under way be given, and then cuts off.
func TestShutdown(t *testing.T) {
	for name, test := range map[string]struct {
		takes time.Duration
		whole bool
	}{"in time": {3 * time.Second, true}, "too late": {9 * time.Second, false}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				listener := newPipes()
				s := New(Options{Log: quiet(), Daemon: &fake{status: func(context.Context) (record.Snapshot, error) {
					time.Sleep(test.takes)
					return record.Snapshot{}, nil
				}}})
				served := make(chan error, 1)
				go func() { served <- s.Serve(listener) }()
				conn, idle := listener.dial(), listener.dial()
				defer conn.Close()
				if _, _, err := say(idle, getHealth); err != nil {
					t.Fatal(err)
				}
				answered := make(chan error, 1)
				go func() {
					_, _, err := say(conn, "GET /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\n\r\n")
					answered <- err
				}()
				synctest.Wait()
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				if err := s.Shutdown(ctx); (err == nil) != test.whole {
					t.Errorf("shutdown: %v", err)
				}
				if err := <-answered; (err == nil) != test.whole {
					t.Errorf("the answer: %v", err)
				}
				if err := <-served; err != nil {
					t.Errorf("serve: %v", err)
				}
				if _, err := idle.Read(make([]byte, 1)); err == nil {
					t.Error("an idle connection stays")
				}
				time.Sleep(time.Minute) // what is left of the status
			})
		})
	}
}

// A crowd of connections does not keep the server from stopping.
func TestShutdownWhenFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		listener := newPipes()
		s := New(Options{Log: quiet(), Daemon: &fake{}, Limits: Limits{Connections: 1}})
		served := make(chan error, 1)
		go func() { served <- s.Serve(listener) }()
		first, second := listener.dial(), listener.dial()
		defer first.Close()
		synctest.Wait()
		began, stopped := time.Now(), make(chan error, 1)
		go func() { stopped <- s.Shutdown(t.Context()) }()
		if err := <-served; err != nil {
			t.Error(err)
		}
		if _, err := second.Read(make([]byte, 1)); !errors.Is(err, io.EOF) || time.Since(began) != 0 {
			t.Errorf("the connection without a slot, after %v: %v", time.Since(began), err)
		}
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
}
