package fault

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/draysync/dray/internal/emulator/registry"
)

// perform starts a stage without a program.
func perform(t *testing.T, f fixture, s scenario) *stage {
	t.Helper()
	if s.arm == nil {
		s.arm = func(*stage, *end, fixture) {}
	}
	st, err := newStage(f, s, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(st.close)
	return st
}

// send makes a request that is signed in where edit does so, and returns the status, or 0 for a connection that broke.
func send(t *testing.T, method, url, body string, edit func(*http.Request)) (int, http.Header) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if edit != nil {
		edit(request)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(request)
	if err != nil {
		return 0, nil
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode, response.Header
}

func TestIncompleteTagIsSeenEvenIfItIsCompletedLater(t *testing.T) {
	t.Parallel()
	f := newFixture()
	st := perform(t, f, scenario{side: Target})
	image := f.images[0].Image
	root := image.Root()
	url := st.target.server.URL + "/v2/mirror/app-00/manifests/1.0.0"
	status, _ := send(t, http.MethodPut, url, string(root.Body), func(r *http.Request) { r.Header.Set("Content-Type", root.MediaType) })
	if status != http.StatusCreated {
		t.Fatalf("PUT of a manifest without its parts: %d", status)
	}
	if err := image.Push(st.target.registry, "mirror/app-00", "1.0.0"); err != nil {
		t.Fatal(err)
	}
	if n := st.arrived(); n != 1 {
		t.Errorf("%d tags arrived, not 1", n)
	}
	if len(st.broken) != 1 || !strings.Contains(st.broken[0], "mirror/app-00:1.0.0") {
		t.Errorf("broken: %q", st.broken)
	}
}

func TestOnlyTheRightDigestArrives(t *testing.T) {
	t.Parallel()
	f := newFixture()
	st := perform(t, f, scenario{side: Target})
	for i, tag := range []string{"1.0.0", "1.1.0"} { // the first image under both
		if err := f.images[0].Image.Push(st.target.registry, "mirror/app-00", tag); err != nil {
			t.Fatal(err)
		}
		if n := st.arrived(); n != 1 || len(st.flaws) != i {
			t.Errorf("%s: %d tags arrived; flaws: %q", tag, n, st.flaws)
		}
	}
}

func TestCredentialAtAnotherHostIsSeen(t *testing.T) {
	t.Parallel()
	signIn := func(r *http.Request) { r.SetBasicAuth(user, password) }
	for _, s := range append(strangers(Source), strangers(Target)...) {
		if !s.auth.Basic {
			continue
		}
		t.Run(s.name(), func(t *testing.T) {
			t.Parallel()
			f := newFixture()
			st := perform(t, f, s)
			method, url, want := http.MethodGet, st.source.server.URL+"/v2/library/app-00/blobs/"+f.victim, http.StatusTemporaryRedirect
			if s.side == Target {
				method, url, want = http.MethodPost, st.target.server.URL+"/v2/mirror/app-00/blobs/uploads/", http.StatusAccepted
			}
			if status, _ := send(t, method, url, "", nil); status != http.StatusUnauthorized {
				t.Errorf("without a credential: %d", status)
			}
			status, header := send(t, method, url, "", signIn)
			location := header.Get("Location")
			if status != want || !strings.HasPrefix(location, "http://") || strings.Contains(location, st.at(s.side).server.Host) {
				t.Fatalf("%s answered %d, Location %q", method, status, location)
			}
			if status, _ := send(t, http.MethodGet, location, "", nil); status >= http.StatusBadRequest || len(st.flaws) != 0 {
				t.Errorf("the other host answered %d; flaws: %q", status, st.flaws)
			}
			if send(t, http.MethodGet, location, "", signIn); len(st.flaws) != 1 {
				t.Errorf("flaws after a credential: %q", st.flaws)
			}
		})
	}
}

func TestLimitIsAtItsPlace(t *testing.T) {
	t.Parallel()
	for _, s := range limits(Source)[:3] {
		t.Run(s.name(), func(t *testing.T) {
			t.Parallel()
			st := perform(t, newFixture(), s)
			status, header := send(t, http.MethodGet, st.source.server.URL+"/v2/library/app-00/manifests/1.0.0", "", nil)
			if status != http.StatusTooManyRequests || header.Get("Retry-After") == "" {
				t.Errorf("%d, %v", status, header)
			}
		})
	}
}

func TestLimitHoldsUntilThePauseIsOver(t *testing.T) {
	t.Parallel()
	for _, form := range forms() {
		t.Run(form.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				st := &stage{}
				l := &limit{form: form, stage: st, asked: map[string]*pauseOf{}}
				request := httptest.NewRequest(http.MethodGet, "/v2/library/app-00/manifests/1.0.0", nil)
				for range 2 {
					answer := httptest.NewRecorder()
					if refused := l.refuses(request); !refused {
						t.Error("it is not refused")
					}
					if l.answer(answer, request, nil); answer.Code != http.StatusTooManyRequests || answer.Header().Get("Retry-After") == "" {
						t.Errorf("%d, %v", answer.Code, answer.Header())
					}
					time.Sleep(meanwhile)
				}
				if len(st.flaws) != 0 {
					t.Errorf("a request that was under way counts as early: %q", st.flaws)
				}
				if refused := l.refuses(request); !refused || len(st.flaws) != 1 {
					t.Errorf("an early request is refused: %t, flaws: %q", refused, st.flaws)
				}
				time.Sleep(time.Until(l.asked[purpose(request)].until))
				if refused := l.refuses(request); refused || len(st.flaws) != 1 {
					t.Errorf("a later request is refused: %t, flaws: %q", refused, st.flaws)
				}
			})
		})
	}
}

// TestFaultsEnd sends the same download again and again: each fault that is met once, or ten times, has to be over then.
func TestFaultsEnd(t *testing.T) {
	t.Parallel()
	f := newFixture()
	want := f.images[0].Image.Blobs[slices.IndexFunc(f.images[0].Image.Blobs, func(b registry.Blob) bool { return b.Digest == f.victim })].Data
	for name, bad := range map[string]int{
		"503 on every blob, once": 1, "reset before every blob, once": 1, "every blob cut at half, once": 1,
		"every blob cut ten times in a row": 10, "a flipped byte in a layer, once": 1, "a flipped byte in a manifest": 0,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := sourceFaults()
			st := perform(t, f, all[slices.IndexFunc(all, func(s scenario) bool { return s.fault == name })])
			for i := range bad + 1 {
				got := download(t, st.source.server.URL+"/v2/library/app-00/blobs/"+f.victim)
				if whole := bytes.Equal(got, want); whole != (i == bad) {
					t.Errorf("download %d: %d bytes, whole: %v", i, len(got), whole)
				}
			}
			if n := st.hits.Load(); n != int64(bad) {
				t.Errorf("%d hits, not %d", n, bad)
			}
		})
	}
}

func TestHealedStageHasNoFault(t *testing.T) {
	t.Parallel()
	f := newFixture()
	for _, s := range sourceFaults() {
		if len(s.must.causes) == 0 {
			continue
		}
		t.Run(s.name(), func(t *testing.T) {
			t.Parallel()
			st := perform(t, f, s)
			st.healed.Store(true)
			root := f.images[0].Image.Root()
			repository := st.source.server.URL + "/v2/library/app-00/"
			if got := registry.Sum(download(t, repository+"blobs/"+f.victim)); got != f.victim {
				t.Errorf("the layer has digest %s, not %s", got, f.victim)
			}
			if got := registry.Sum(download(t, repository+"manifests/"+root.Digest)); got != root.Digest {
				t.Errorf("the manifest has digest %s, not %s", got, root.Digest)
			}
		})
	}
}

// download returns what arrives of a body.
func download(t *testing.T, url string) []byte {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true} // on a connection that is used again, net/http itself retries
	response, err := transport.RoundTrip(request)
	if err != nil {
		return nil
	}
	defer response.Body.Close()
	data, _ := io.ReadAll(response.Body)
	return data
}
