package webhook

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// token stands in URLs and secrets, and must never be seen elsewhere.
const token = "T0P-S3CRET-T0KEN"

const hookURL = "https://hooks.example/services/" + token + "?key=" + token

// delivery is a request as a receiver got it.
type delivery struct {
	At     time.Duration
	Header http.Header
	Body   string
	URL    string
}

// receiver is the other side of hooks, as a transport.
type receiver struct {
	start  time.Time
	answer func(ctx context.Context, n int, d delivery) (*http.Response, error)

	mu  sync.Mutex
	got []delivery
}

func newReceiver(answer func(ctx context.Context, n int, d delivery) (*http.Response, error)) *receiver {
	return &receiver{start: time.Now(), answer: answer}
}

// RoundTrip answers the n-th request, from 1.
func (r *receiver) RoundTrip(request *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return nil, err
	}
	d := delivery{At: time.Since(r.start), Header: request.Header, Body: string(body), URL: request.URL.String()}
	r.mu.Lock()
	r.got = append(r.got, d)
	n := len(r.got)
	r.mu.Unlock()
	return r.answer(request.Context(), n, d)
}

func (r *receiver) all() []delivery {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]delivery(nil), r.got...)
}

// told lists "kind job" of each body, in order.
func (r *receiver) told(t *testing.T) []string {
	t.Helper()
	var told []string
	for _, d := range r.all() {
		data := decode(t, d.Body).Data
		told = append(told, strings.TrimSpace(string(data.Kind)+" "+data.Job))
	}
	return told
}

func decode(t *testing.T, body string) envelope {
	t.Helper()
	var e envelope
	decoder := json.NewDecoder(strings.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&e); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return e
}

func status(code int, header ...string) (*http.Response, error) {
	h := http.Header{}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: code, Header: h, Body: io.NopCloser(strings.NewReader("echo: " + hookURL))}, nil
}

func takes(context.Context, int, delivery) (*http.Response, error) { return status(204) }

func hangs(ctx context.Context, _ int, _ delivery) (*http.Response, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// logged collects what is logged, at every level.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
	// wrote, if it is there, gets something after a line was written.
	wrote chan struct{}
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.wrote <- struct{}{}:
	default:
	}
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logged) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// start makes a sender that the test ends; what is left then is dropped. Its log must not say the token.
func start(t *testing.T, r *receiver, hooks ...Hook) (*Sender, *logged) {
	t.Helper()
	log := &logged{}
	s, err := New(Options{Hooks: hooks, Transport: r, Log: log.logger()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		_ = s.Close(ended)
		if strings.Contains(log.String(), token) {
			t.Errorf("the log says the token: %s", log)
		}
	})
	return s, log
}

func failed(job string) Event { return Event{Kind: Failed, Data: Data{Job: job}} }

// hmacByHand computes RFC 2104 from SHA-256 alone.
func hmacByHand(key, message []byte) string {
	block := make([]byte, 64)
	if len(key) > 64 {
		sum := sha256.Sum256(key)
		key = sum[:]
	}
	copy(block, key)
	inner, outer := make([]byte, 64), make([]byte, 64)
	for i, b := range block {
		inner[i], outer[i] = b^0x36, b^0x5c
	}
	first := sha256.Sum256(append(inner, message...))
	second := sha256.Sum256(append(outer, first[:]...))
	return base64.StdEncoding.EncodeToString(second[:])
}
