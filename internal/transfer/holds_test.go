package transfer_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"testing"
	"time"

	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/record"
	"github.com/draysync/dray/internal/store"
	"github.com/draysync/dray/internal/transfer"
)

// holds are those of several processes, as one of them sees them; it notes what happens.
type holds struct {
	stand *stand
	// meanwhile is what another process does while this one waits; nil if none has a hold.
	meanwhile func()
	err       error
	// brought is where others have brought what is asked for; zero for nowhere.
	brought image.Repository
	notes   []string
}

func (h *holds) Brought(context.Context, image.Repository, image.Digest) (image.Repository, bool, error) {
	return h.brought, !h.brought.IsZero(), h.err
}

func (h *holds) note(what string) { h.notes = append(h.notes, what) }

func (h *holds) Hold(_ context.Context, what string, waits func()) (done func(), err error) {
	if h.meanwhile != nil {
		waits()
		h.meanwhile()
	}
	if h.err != nil {
		return nil, h.err
	}
	h.note("hold " + what)
	fetched := count(h.stand.source, http.MethodGet, "manifest")
	return func() {
		if count(h.stand.source, http.MethodGet, "manifest") > fetched {
			h.note("fetched")
		}
		h.note("done")
	}, nil
}

func (h *holds) Permit(_ context.Context, job, tag string) (done func(), waited bool, err error) {
	if h.meanwhile != nil {
		h.meanwhile()
	}
	if h.err != nil {
		return nil, h.meanwhile != nil, h.err
	}
	h.note("permit " + job + " " + tag)
	return func() { h.note("done " + h.stand.target.Digest("team/app", "v1")) }, h.meanwhile != nil, nil
}

// holding gives the stand an engine that shares holds with others, and a source whose manifests count.
func (s *stand) holding(t *testing.T, h *holds) (memory *store.Store) {
	t.Helper()
	memory = s.remembering(t, t.TempDir())
	h.stand = s
	s.engine = transfer.New(transfer.Options{
		Source: s.client, Artifacts: s.client, Target: s.client, Presence: s.client, Log: slog.New(slog.DiscardHandler), Memory: memory, Now: time.Now,
		Metered: func(registry string) bool { return registry == sourceHost },
		Holds:   h,
		Idle:    func(context.Context) (resume func()) { h.note("idle"); return func() { h.note("resume") } },
	})
	return memory
}

// TestManifestIsHeld: a manifest that counts is fetched by one process at a time, which keeps it before others look again; one that others have fetched
// meanwhile is not fetched, and without an answer it is.
func TestManifestIsHeld(t *testing.T) {
	i := emulator.SingleArch(1, "linux/amd64", emulator.ImageOptions{})
	kept := image.Manifest{Descriptor: image.Descriptor{MediaType: i.Root().MediaType, Digest: image.Digest(i.Digest), Size: int64(len(i.Root().Body))}, Raw: i.Root().Body}
	what := "manifest " + i.Digest
	for name, tt := range map[string]struct {
		meanwhile bool
		err       error
		want      []string
		fetched   int
	}{
		"free":          {false, nil, []string{"hold " + what, "fetched", "done"}, 1},
		"others have":   {true, nil, []string{"idle", "hold " + what, "resume", "done"}, 0},
		"others hang":   {true, context.DeadlineExceeded, []string{"idle", "resume"}, 0},
		"no one knows":  {false, errors.New("no ledger"), nil, 1},
		"not a minute":  {false, context.Canceled, nil, 1},
		"another keeps": {true, errors.New("no ledger"), []string{"idle", "resume"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s, h := standOutside(emulator.Options{}), &holds{err: tt.err}
			s.push(t, i, "team/app", "v1")
			memory := s.holding(t, h)
			if tt.meanwhile {
				h.meanwhile = func() {
					if err := memory.PutManifest(t.Context(), kept); err != nil {
						t.Fatal(err)
					}
				}
			}
			m, err := s.engine.Manifest(t.Context(), at(sourceHost, "team/app").Digest(image.Digest(i.Digest)))
			if err != nil || string(m.Digest) != i.Digest || len(m.Raw) == 0 {
				t.Fatal(m.Digest, err)
			}
			if n := count(s.source, http.MethodGet, "manifest"); n != tt.fetched || !slices.Equal(h.notes, tt.want) {
				t.Errorf("%d fetched, %q", n, h.notes)
			}
			h.notes = nil
			if _, err := s.engine.Manifest(t.Context(), at(sourceHost, "team/app").Digest(image.Digest(i.Digest))); err != nil || h.notes != nil {
				t.Error("one that is at hand is held", err, h.notes)
			}
		})
	}
}

// TestTagIsPermitted: a tag is written by a process that is permitted to, and only if it is what was observed where another has written it meanwhile.
func TestTagIsPermitted(t *testing.T) {
	i, other := emulator.SingleArch(1, "linux/amd64", emulator.ImageOptions{}), emulator.SingleArch(2, "linux/amd64", emulator.ImageOptions{})
	permit := "permit job " + targetHost + "/team/app:v1"
	for name, tt := range map[string]struct {
		meanwhile *emulator.Image // that another process writes; nil for none
		waits     bool
		err       error
		want      []string
		holds     string
		later     bool
	}{
		"free":                 {nil, false, nil, []string{permit, "done " + i.Digest}, i.Digest, false},
		"nothing written":      {nil, true, nil, []string{permit, "done " + i.Digest}, i.Digest, false},
		"the same was written": {&i, true, nil, []string{permit, "done " + i.Digest}, i.Digest, false},
		"another was written":  {&other, true, nil, []string{permit, "done " + other.Digest}, other.Digest, true},
		"lost":                 {nil, false, record.ErrLost, nil, "", false},
		"lost meanwhile":       {&other, true, record.ErrLost, nil, other.Digest, false},
		"no answer":            {nil, false, errors.New("no ledger"), nil, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			s, h := standOutside(emulator.Options{}), &holds{}
			s.push(t, i, "team/app", "v1")
			s.holding(t, h)
			if tt.waits {
				h.meanwhile = func() {
					if tt.meanwhile == nil {
						return
					}
					if err := tt.meanwhile.Push(s.target, "team/app", "v1"); err != nil {
						t.Error(err)
					}
				}
			}
			o := order("team/app", "v1", i.Digest)
			o.Job = "job"
			// The manifest is at hand: it is about the tag.
			if _, err := s.engine.Manifest(t.Context(), o.Source); err != nil {
				t.Fatal(err)
			}
			h.err, h.notes = tt.err, nil
			err := s.try(t.Context(), o)
			if (err == nil) != (tt.err == nil && !tt.later) || tt.err != nil && !errors.Is(err, tt.err) {
				t.Error(err)
			}
			later, ok := errors.AsType[interface {
				error
				RetryAt() time.Time
			}](err)
			if ok != tt.later || ok && time.Since(later.RetryAt()).Abs() > time.Minute {
				t.Error("when it is tried again:", err)
			}
			if got := s.target.Digest("team/app", "v1"); got != tt.holds || !slices.Equal(h.notes, tt.want) {
				t.Errorf("the tag is %q, %q", got, h.notes)
			}
		})
	}
}

// TestBlobIsHeld: a large blob is brought to a registry by one process at a time. What another has brought meanwhile is not fetched again: it is there,
// or it is mounted, though no manifest is committed where it is. Without an answer it is fetched, and a small one in any case.
func TestBlobIsHeld(t *testing.T) {
	fulltest.Long(t)
	for name, tt := range map[string]struct {
		small bool
		// others bring it into a repository while this process waits, or before.
		others string
		waits  bool
		err    error
		// fetched counts the blobs that the source was asked for, but the config.
		held    bool
		fetched int
		mounted bool
	}{
		"free":                      {false, "", false, nil, true, 1, false},
		"brought to the repository": {false, "team/app", true, nil, true, 0, false},
		"brought to another":        {false, "team/other", true, nil, true, 0, true},
		"brought before to another": {false, "team/other", false, nil, true, 0, true},
		"others failed":             {false, "", true, nil, true, 1, false},
		"no ledger":                 {false, "", false, errors.New("no ledger"), false, 1, false},
		"others hang":               {false, "", true, context.DeadlineExceeded, false, 1, false},
		"small":                     {true, "", false, nil, false, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			size := int64(2 << 20)
			if tt.small {
				size = 1 << 10
			}
			i := emulator.SingleArch(1, "linux/amd64", emulator.ImageOptions{LayerSize: size})
			s, h := standOutside(emulator.Options{}), &holds{}
			s.push(t, i, "team/app", "v1")
			s.holding(t, h)
			layer := slices.MaxFunc(i.Blobs, func(a, b emulator.Blob) int { return len(a.Data) - len(b.Data) })
			bring := func() {
				if tt.others != "" {
					s.target.PutBlob(tt.others, layer.Data)
					h.brought = at(targetHost, tt.others)
				}
			}
			if tt.waits {
				h.meanwhile = bring
			} else {
				bring()
			}
			o := order("team/app", "v1", i.Digest)
			o.Job = "job"
			if _, err := s.engine.Manifest(t.Context(), o.Source); err != nil { // it is about the blob
				t.Fatal(err)
			}
			before := count(s.source, http.MethodGet, "blob")
			h.notes, h.err = nil, tt.err
			receipt, err := s.engine.Import(t.Context(), o, &meter{})
			if (err == nil) != (tt.err == nil) { // without the ledger no tag is permitted
				t.Error(err)
			}
			fetched := count(s.source, http.MethodGet, "blob") - before
			held := slices.Contains(h.notes, "hold blob "+targetHost+" "+layer.Digest)
			if fetched != tt.fetched+1 || held != tt.held || !s.target.HasBlob("team/app", layer.Digest) || receipt.Cost.Mounted > 0 != tt.mounted {
				t.Errorf("%d blobs were fetched, %+v, %q", fetched, receipt.Cost, h.notes)
			}
		})
	}
}
