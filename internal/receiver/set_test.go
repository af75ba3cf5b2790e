package receiver

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // what Nexus signs with
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/image"
)

const secret = "0123456789abcdef-the-secret" //nolint:gosec // of a test

// stand is a set that hands over to a list.
type stand struct {
	set *Set
	log bytes.Buffer

	mu      sync.Mutex
	looked  []string
	counted map[string]int
	// down is why nothing can be taken.
	down error
	// unwanted and unchosen are what no mapping wants.
	unwanted, unchosen string
}

func newStand(t *testing.T, receivers ...Receiver) *stand {
	t.Helper()
	if wrong := Check(receivers); len(wrong) > 0 {
		t.Fatal(wrong[0])
	}
	s := &stand{counted: map[string]int{}}
	s.set = New(Options{
		Look: func(_ context.Context, tags []image.Reference) ([]Outcome, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			var all []Outcome
			for _, tag := range tags {
				switch name := tag.String(); {
				case strings.Contains(name, "unsigned"):
					all = append(all, Ignored)
				case s.unwanted != "" && strings.Contains(name, s.unwanted):
					all = append(all, Unwanted)
				case s.unchosen != "" && strings.Contains(name, s.unchosen):
					all = append(all, Unchosen)
				default:
					s.looked = append(s.looked, name)
					all = append(all, Accepted)
				}
			}
			return all, s.down
		},
		Count: func(receiver string, outcome Outcome) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.counted[receiver+" "+string(outcome)]++
		},
		Log: slog.New(slog.NewTextHandler(&s.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	s.set.Replace(receivers)
	return s
}

// post sends a body and returns the answer's status and text.
func (s *stand) post(path, body string, header http.Header) (int, string) {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	for name, values := range header {
		r.Header[name] = values
	}
	w := httptest.NewRecorder()
	s.set.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func sum(kind func() hash.Hash, key string, body []byte) string {
	mac := hmac.New(kind, []byte(key))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

// Each sender is believed for what it can show, and for nothing less. No answer and no log line has the secret.
func TestProofs(t *testing.T) {
	head := func(pairs ...string) http.Header {
		h := http.Header{}
		for i := 0; i < len(pairs); i += 2 {
			h.Set(pairs[i], pairs[i+1])
		}
		return h
	}
	basic := func(user, password string) string {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.SetBasicAuth(user, password)
		return r.Header.Get("Authorization")
	}
	const wrong = "another-secret-of-someone"
	for _, c := range []struct {
		kind, payload string
		good, bad     func(body []byte) []http.Header
	}{
		{
			"github", "github",
			func(b []byte) []http.Header {
				return []http.Header{head("X-Hub-Signature-256", "sha256="+sum(sha256.New, secret, b))}
			},
			func(b []byte) []http.Header {
				return []http.Header{
					head("X-Hub-Signature-256", "sha256="+sum(sha256.New, wrong, b)), head("X-Hub-Signature-256", sum(sha256.New, secret, b)),
					head("X-Hub-Signature-256", "sha256="), head("X-Hub-Signature", "sha1="+sum(sha1.New, secret, b)), head("Authorization", secret),
					head("X-Hub-Signature-256", "sha256="+sum(sha256.New, secret, append(bytes.Clone(b), ' '))),
				}
			},
		},
		{
			"nexus", "nexus",
			func(b []byte) []http.Header {
				return []http.Header{head("X-Nexus-Webhook-Signature", sum(sha1.New, secret, b))}
			},
			func(b []byte) []http.Header {
				return []http.Header{head("X-Nexus-Webhook-Signature", sum(sha1.New, wrong, b)), head("X-Nexus-Webhook-Signature", secret)}
			},
		},
		{
			"artifactory", "artifactory",
			func(b []byte) []http.Header {
				return []http.Header{head("X-Jfrog-Event-Auth", secret), head("X-Jfrog-Event-Auth", sum(sha256.New, secret, b))}
			},
			func(b []byte) []http.Header {
				return []http.Header{head("X-Jfrog-Event-Auth", wrong), head("X-Jfrog-Event-Auth", sum(sha256.New, wrong, b)), head("X-Jfrog-Event-Auth", "")}
			},
		},
		{
			"generic", "generic",
			func(b []byte) []http.Header {
				return []http.Header{
					head("Authorization", secret), head("Authorization", "bearer "+secret), head("Authorization", basic("dray", secret)), head("X-Gitlab-Token", secret),
					head("X-Hub-Signature-256", "sha256="+sum(sha256.New, secret, b)), head("X-Signature", "sha256="+sum(sha256.New, secret, b)),
				}
			},
			func(b []byte) []http.Header {
				return []http.Header{
					head("Authorization", wrong), head("Authorization", "Bearer "+wrong), head("Authorization", basic(secret, wrong)), head("X-Gitlab-Token", wrong),
					head("X-Signature", "sha256="+sum(sha256.New, wrong, b)),
				}
			},
		},
		{
			"dockerhub", "dockerhub",
			func([]byte) []http.Header { return []http.Header{head(":path", "/"+key("x", secret))} },
			func([]byte) []http.Header {
				return []http.Header{head(":path", ""), head(":path", "/"+secret), head(":path", "/"+key("y", secret)), head(":path", "/"+key("x", secret)+"/")}
			},
		},
		{
			"quay", "quay",
			func([]byte) []http.Header { return []http.Header{head(":path", "/"+key("x", secret))} },
			func([]byte) []http.Header { return []http.Header{head("Authorization", secret)} },
		},
		{"harbor", "harbor", nil, nil},
		{"acr", "acr", nil, nil},
		{"ecr", "ecr", nil, nil},
		{"distribution", "distribution", nil, nil},
		{"zot", "zot", nil, nil},
		{"cloudevents", "zot", nil, nil},
	} {
		if c.good == nil {
			c.good = func([]byte) []http.Header {
				return []http.Header{head("Authorization", secret), head("Authorization", "Bearer "+secret), head("Authorization", basic("", secret))}
			}
			c.bad = func([]byte) []http.Header {
				return []http.Header{head("Authorization", wrong), head("Authorization", "Bearer"), head("Authorization", "Basic "+secret), head("X-Api-Key", secret)}
			}
		}
		t.Run(c.kind, func(t *testing.T) {
			s := newStand(t, Receiver{Name: "x", Type: c.kind, Secret: secret, Registry: "registry.example.com"})
			body := payload(t, c.payload)
			send := func(h http.Header) (int, string) {
				path := "/hook/x" + h.Get(":path")
				h.Del(":path")
				return s.post(path, string(body), h)
			}
			for i, h := range append(c.bad(body), head()) {
				if status, text := send(h); status != http.StatusUnauthorized && status != http.StatusNotFound || strings.Contains(text, secret) {
					t.Errorf("bad proof %d: %d %s", i, status, text)
				}
			}
			if len(s.looked) > 0 || s.counted["x refused"] != len(c.bad(body))+1 {
				t.Errorf("looked at %v, counted %v", s.looked, s.counted)
			}
			for i, h := range c.good(body) {
				s.looked = nil
				if status, text := send(h); status != http.StatusAccepted || len(s.looked) == 0 {
					t.Errorf("good proof %d: %d %s", i, status, text)
				}
			}
			if strings.Contains(s.log.String(), secret) || strings.Contains(s.log.String(), key("x", secret)) {
				t.Errorf("the log has the secret:\n%s", &s.log)
			}
		})
	}
}

// What an event leads to is answered, counted and logged with its reason.
func TestOutcomes(t *testing.T) {
	hub := Receiver{Name: "hub", Type: "generic", Secret: secret}
	auth := http.Header{"Authorization": {secret}}
	for _, c := range []struct {
		name, body string
		set        func(*stand)
		status     int
		counted    string
		said       string
	}{
		{"accepted", `{"image":"h.io/a/b:1"}`, nil, http.StatusAccepted, "hub accepted", `"accepted":1`},
		{"of a repository that nobody mirrors", `{"image":"h.io/a/b:1"}`, func(s *stand) { s.unwanted = "a/b" }, http.StatusOK, "hub unwanted", "no mapping has h.io/a/b as its source"},
		{"of a tag that nobody chooses", `{"image":"h.io/a/b:1"}`, func(s *stand) { s.unchosen = ":1" }, http.StatusOK, "hub unchosen", "no mapping of h.io/a/b chooses the tag 1"},
		{"an image that no tag waits for", `{"image":"h.io/unsigned/b@sha256:` + strings.Repeat("a", 64) + `"}`, nil, http.StatusOK, "hub ignored", "it names no tag, and none waits for a signature of h.io/unsigned/b@sha256:"},
		{"no push", `{"image":"h.io/a/b@sha256:1"}`, nil, http.StatusOK, "hub ignored", "it names no tag"},
		{"nonsense", `{`, nil, http.StatusBadRequest, "hub malformed", "not JSON"},
		{"while nothing can be taken", `{"image":"h.io/a/b:1"}`, func(s *stand) { s.down = errors.New("the daemon is stopping") }, http.StatusServiceUnavailable, "hub unavailable", "the daemon is stopping"},
		{"huge", `{"image":"` + strings.Repeat("x", maxBody) + `"}`, nil, http.StatusRequestEntityTooLarge, "hub malformed", "more than 1048576 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStand(t, hub)
			if c.set != nil {
				c.set(s)
			}
			status, text := s.post("/hook/hub", c.body, auth)
			if status != c.status || !strings.Contains(text, c.said) {
				t.Errorf("%d %s", status, text)
			}
			if d := cmp.Diff(map[string]int{c.counted: 1}, s.counted); d != "" {
				t.Errorf("counted (-want +got):\n%s", d)
			}
			if c.status != http.StatusAccepted && !strings.Contains(s.log.String(), c.said) {
				t.Errorf("the log does not say why:\n%s", &s.log)
			}
		})
	}
	s := newStand(t, hub)
	if status, _ := s.post("/hook/other", `{}`, auth); status != http.StatusNotFound {
		t.Errorf("an unknown receiver: %d", status)
	}
	s.set.Replace(nil)
	if status, _ := s.post("/hook/hub", `{"image":"h.io/a/b:1"}`, auth); status != http.StatusNotFound {
		t.Errorf("a receiver that is gone: %d", status)
	}
}

// TestBegins: an event that comes before the first config is to be sent again; afterwards there is no such receiver.
func TestBegins(t *testing.T) {
	s := &stand{set: New(Options{Log: slog.New(slog.DiscardHandler)})}
	if status, text := s.post("/hook/corp", "{}", nil); status != http.StatusServiceUnavailable || !strings.Contains(text, "starting") {
		t.Errorf("at the start: %d %s", status, text)
	}
	s.set.Replace(nil)
	if status, text := s.post("/hook/corp", "{}", nil); status != http.StatusNotFound {
		t.Errorf("without receivers: %d %s", status, text)
	}
}

// Of a storm every event is counted and handed over, and the log has few lines.
func TestStorm(t *testing.T) {
	s := newStand(t, Receiver{Name: "hub", Type: "generic", Secret: secret})
	const events, senders = 10_000, 8
	var group sync.WaitGroup
	for n := range senders {
		group.Go(func() {
			for i := range events / senders {
				status, text := s.post("/hook/hub", fmt.Sprintf(`{"image":"h.io/a/b:v%d-%d"}`, n, i), http.Header{"Authorization": {secret}})
				if status != http.StatusAccepted {
					t.Errorf("%d %s", status, text)
					return
				}
			}
		})
	}
	group.Wait()
	if len(s.looked) != events || s.counted["hub accepted"] != events {
		t.Errorf("%d handed over, counted %v", len(s.looked), s.counted)
	}
	if lines := strings.Count(s.log.String(), "level=INFO"); lines > 100 {
		t.Errorf("%d lines in the log", lines)
	}
}

// Bodies that do not come keep no event away. What strangers do send takes place from strangers only.
func TestSlowBodies(t *testing.T) {
	s := newStand(t, Receiver{Name: "gh", Type: "github", Secret: secret}, Receiver{Name: "corp", Type: "harbor", Secret: secret})
	var group sync.WaitGroup
	var open []io.Closer
	begin := func(sent []byte) {
		r, w := net.Pipe()
		open = append(open, w)
		request := httptest.NewRequest(http.MethodPost, "/hook/gh", r)
		request.ContentLength = -1
		group.Go(func() { s.set.ServeHTTP(httptest.NewRecorder(), request) })
		if _, err := w.Write(sent); err != nil {
			t.Fatal(err)
		}
		_, _ = w.Write([]byte("}")) // it has been taken once this can be written, or is refused
	}
	github := payload(t, "github")
	signed := http.Header{"X-Hub-Signature-256": {"sha256=" + sum(sha256.New, secret, github)}}
	for range 64 {
		begin([]byte("{"))
	}
	if status, text := s.post("/hook/gh", string(github), signed); status != http.StatusAccepted {
		t.Errorf("beside bodies that do not come: %d %s", status, text)
	}
	for range maxBodies/maxBody - 1 {
		begin(make([]byte, maxBody-1))
	}
	begin(make([]byte, maxBody-1-64*len("{}")-512)) // 512 bytes are left
	if status, _ := s.post("/hook/gh", string(github), signed); status != http.StatusServiceUnavailable {
		t.Errorf("beside as many large ones as are allowed: %d", status)
	}
	if status, text := s.post("/hook/corp", string(payload(t, "harbor")), http.Header{"Authorization": {secret}}); status != http.StatusAccepted {
		t.Errorf("a known sender: %d %s", status, text)
	}
	silent, w := net.Pipe()
	open = append(open, w)
	request := httptest.NewRequest(http.MethodPost, "/hook/corp", silent)
	answer := httptest.NewRecorder()
	if s.set.ServeHTTP(answer, request); answer.Code != http.StatusUnauthorized { // without its body
		t.Errorf("a stranger who claims to be known: %d", answer.Code)
	}
	for _, w := range open {
		_ = w.Close()
	}
	group.Wait()
	if status, text := s.post("/hook/gh", string(github), signed); status != http.StatusAccepted {
		t.Errorf("after that: %d %s", status, text)
	}
}

func TestCheck(t *testing.T) {
	good := Receiver{Name: "a", Type: "github", Secret: secret}
	for _, c := range []struct {
		change func(*Receiver)
		want   string
	}{
		{func(*Receiver) {}, ""},
		{func(r *Receiver) { r.Name = "A/b" }, "name"},
		{func(r *Receiver) { r.Type = "gitlab" }, "type"},
		{func(r *Receiver) { r.Secret = "" }, "secret"},
		{func(r *Receiver) { r.Secret = "short" }, "secret"},
		{func(r *Receiver) { r.Type = "zot" }, "registry"},
		{func(r *Receiver) { r.Registry = "https://x" }, "registry"},
		{func(r *Receiver) { r.Audience = "x" }, "audience"},
		{func(r *Receiver) { r.ServiceAccount = "x" }, "serviceAccount"},
		{func(r *Receiver) { r.Type, r.Audience, r.ServiceAccount = "gcr", "x", "y" }, "secret"},
		{func(r *Receiver) { r.Type, r.Secret, r.Audience = "gcr", "", "x" }, "serviceAccount"},
		{func(r *Receiver) { r.Type, r.Secret, r.Audience, r.ServiceAccount = "gcr", "", "x", "y" }, ""},
	} {
		r := good
		c.change(&r)
		got := ""
		for _, m := range Check([]Receiver{r}) {
			got += m.Field
			if strings.Contains(m.Error(), secret) {
				t.Errorf("the error has the secret: %v", m)
			}
		}
		if got != c.want {
			t.Errorf("%s: mistakes %q, want %q", r.Type, got, c.want)
		}
	}
	if two := Check([]Receiver{good, good}); len(two) != 1 || two[0].Index != 1 || two[0].Field != "name" {
		t.Errorf("two of one name: %v", two)
	}
}
