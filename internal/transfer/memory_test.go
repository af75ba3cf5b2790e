package transfer_test

import (
	"context"
	"log/slog"
	"net/http"
	"testing"
	"time"

	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/registry"
	"github.com/draysync/dray/internal/store"
	"github.com/draysync/dray/internal/transfer"
)

// remembering gives the stand a new engine and client, as a new process has them, with the store of dir.
func (s *stand) remembering(t *testing.T, dir string) *store.Store {
	t.Helper()
	network := emulator.Network{sourceHost: s.source, targetHost: s.target, thirdHost: s.third}
	memory, err := store.Open(context.Background(), dir, store.Options{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	client, err := registry.New(registry.Options{Keep: memory.PutManifest, Wrap: func(string, http.RoundTripper) http.RoundTripper { return network }})
	if err != nil {
		t.Fatal(err)
	}
	s.client = client
	s.engine = transfer.New(transfer.Options{
		Source: client, Artifacts: client, Target: client, Presence: client, Log: slog.New(slog.DiscardHandler), Memory: memory, Now: time.Now,
	})
	t.Cleanup(func() { _ = client.Close(); _ = memory.Close() })
	return memory
}

func standOutside(target emulator.Options) *stand {
	return &stand{source: emulator.New(emulator.Options{}), target: emulator.New(target), third: emulator.New(emulator.Options{})}
}

// TestMemoryOutlivesTheProcess: what one process has brought, the next mounts, without a byte and without a pull.
func TestMemoryOutlivesTheProcess(t *testing.T) {
	s, dir := standOutside(emulator.Options{}), t.TempDir()
	i := emulator.MultiArch(1, emulator.ImageOptions{})
	s.push(t, i, "team/app", "v1")
	s.push(t, i, "team/other", "v1")
	s.remembering(t, dir)
	s.bring(t, order("team/app", "v1", i.Digest))
	s.remembering(t, dir)
	s.source.Reset()
	s.target.Reset()
	receipt := s.bring(t, order("team/other", "v1", i.Digest))
	whole(t, s.target, "team/other", "v1", i.Digest)
	if receipt.Bytes != 0 || receipt.Pulls != 0 || receipt.Mounted != i.Size() || len(s.source.Requests()) != 0 {
		t.Errorf("%+v and %d requests to the source, want everything mounted", receipt.Cost, len(s.source.Requests()))
	}
}

// TestMemoryOfWhatIsGone: the target was emptied, or lost blobs, between two processes. Nothing is ever tagged that is not
// whole, also where the registry does not look at what a manifest refers to.
func TestMemoryOfWhatIsGone(t *testing.T) {
	i := emulator.MultiArch(1, emulator.ImageOptions{Layers: 2})
	next := emulator.MultiArch(2, emulator.ImageOptions{Layers: 2, Base: nil})
	for name, options := range map[string]emulator.Options{"strict": {}, "lax": {LaxManifests: true}} {
		t.Run(name+", emptied", func(t *testing.T) {
			s, dir := standOutside(options), t.TempDir()
			s.push(t, i, "team/app", "v1")
			s.remembering(t, dir)
			s.bring(t, order("team/app", "v1", i.Digest))
			s.target = emulator.New(options)
			s.remembering(t, dir)
			s.bring(t, order("team/app", "v1", i.Digest))
			whole(t, s.target, "team/app", "v1", i.Digest)
		})
	}
	t.Run("strict, blobs lost", func(t *testing.T) {
		s, dir := standOutside(emulator.Options{}), t.TempDir()
		s.push(t, i, "team/app", "v1")
		s.push(t, next, "team/app", "v2")
		s.remembering(t, dir)
		s.bring(t, order("team/app", "v1", i.Digest))
		s.bring(t, order("team/app", "v2", next.Digest))
		for _, b := range next.Blobs {
			s.target.DeleteBlob("team/app", b.Digest)
		}
		for _, m := range next.Manifests {
			s.target.DeleteManifest("team/app", m.Digest)
		}
		s.remembering(t, dir)
		o := order("team/app", "v2", next.Digest)
		o.Fresh = false
		s.bring(t, o)
		whole(t, s.target, "team/app", "v2", next.Digest)
	})
}

// TestMemoryOfSelections: which digest an index has with fewer platforms is asked for once.
func TestMemoryOfSelections(t *testing.T) {
	s, dir := standOutside(emulator.Options{}), t.TempDir()
	i := emulator.MultiArch(1, emulator.ImageOptions{})
	s.push(t, i, "team/app", "v1")
	amd64 := []image.Platform{{OS: "linux", Architecture: "amd64"}}
	offered := image.Descriptor{MediaType: i.Root().MediaType, Digest: image.Digest(i.Digest)}
	s.remembering(t, dir)
	source := at(sourceHost, "team/app").Digest(image.Digest(i.Digest))
	first, err := s.engine.Resolve(t.Context(), source, offered, amd64)
	if err != nil || string(first) == i.Digest {
		t.Fatalf("%s, %v", first, err)
	}
	s.remembering(t, dir)
	s.source.Reset()
	again, err := s.engine.Resolve(t.Context(), source, offered, amd64)
	if err != nil || again != first || len(s.source.Requests()) != 0 {
		t.Errorf("%s, %v, %d requests; want %s without one", again, err, len(s.source.Requests()), first)
	}
}

// TestMemoryThatIsGone: without the store everything is asked for, and right.
func TestMemoryThatIsGone(t *testing.T) {
	s := standOutside(emulator.Options{})
	i := emulator.MultiArch(1, emulator.ImageOptions{})
	s.push(t, i, "team/app", "v1")
	memory := s.remembering(t, t.TempDir())
	if err := memory.Close(); err != nil {
		t.Fatal(err)
	}
	s.bring(t, order("team/app", "v1", i.Digest))
	whole(t, s.target, "team/app", "v1", i.Digest)
}

// TestMemoryThatCannotBeBelievedIsAsked: the target holds none of the tags that were looked at, and is remembered to hold the
// image. It may have lost only the tag: then nothing is sent again.
func TestMemoryThatCannotBeBelievedIsAsked(t *testing.T) {
	s, dir := standOutside(emulator.Options{}), t.TempDir()
	i := emulator.MultiArch(1, emulator.ImageOptions{})
	s.push(t, i, "team/app", "v1")
	s.remembering(t, dir)
	s.bring(t, order("team/app", "v1", i.Digest))
	s.target.DeleteTag("team/app", "v1")
	s.remembering(t, dir)
	if receipt := s.bring(t, order("team/app", "v1", i.Digest)); receipt.Bytes != 0 {
		t.Errorf("%d bytes were sent again", receipt.Bytes)
	}
	whole(t, s.target, "team/app", "v1", i.Digest)
}

// TestLaterReferrersComeInTime: a signature that is pushed after its image arrives once the interval is over, without the image
// being pushed again; before that, and when there is none, nothing is asked.
func TestLaterReferrersComeInTime(t *testing.T) {
	for name, options := range both {
		t.Run(name, func(t *testing.T) {
			s, dir := standOutside(options), t.TempDir()
			s.source = emulator.New(options)
			i := emulator.SingleArch(1, "linux/amd64", emulator.ImageOptions{})
			s.push(t, i, "team/app", "v1")
			s.remembering(t, dir)
			o := withAll(order("team/app", "v1", i.Digest))
			s.bring(t, o)
			signature, err := s.source.PutReferrer("team/app", i.Digest, "application/x", []byte("signed"))
			if err != nil {
				t.Fatal(err)
			}
			o.Fresh, o.HeldAs, o.ReferrersInterval = false, "v1", time.Hour
			s.remembering(t, dir)
			s.source.Reset()
			s.target.Reset()
			if _, err := s.engine.Refresh(t.Context(), o, &meter{}); err != nil || len(s.source.Requests())+len(s.target.Requests()) != 0 {
				t.Errorf("before its time: %v, %d requests", err, len(s.source.Requests())+len(s.target.Requests()))
			}
			o.ReferrersInterval = time.Nanosecond
			cost, err := s.engine.Refresh(t.Context(), o, &meter{})
			if err != nil || s.target.Digest("team/app", signature) == "" || cost.Bytes == 0 {
				t.Errorf("in its time: %v, %+v", err, cost)
			}
			for _, w := range writes(s.target) {
				if w == "PUT manifest v1" || w == "PUT manifest "+i.Digest {
					t.Errorf("the image was pushed again: %s", w)
				}
			}
		})
	}
}

// TestRefreshWithAWrongMemory: what the target has lost is brought again, also where only a referrer is new.
func TestRefreshWithAWrongMemory(t *testing.T) {
	s, dir := standOutside(emulator.Options{}), t.TempDir()
	i := emulator.SingleArch(1, "linux/amd64", emulator.ImageOptions{})
	s.push(t, i, "team/app", "v1")
	s.attach(t, "team/app", i.Digest, signatureType)
	s.remembering(t, dir)
	o := withAll(order("team/app", "v1", i.Digest))
	s.bring(t, o)
	later := s.attach(t, "team/app", i.Digest, sbomType)
	if empty := emulator.Sum([]byte("{}")); !s.target.DeleteBlob("team/app", empty) { // the config of every referrer
		t.Fatal("the target had no empty config")
	}
	o.Fresh, o.HeldAs, o.ReferrersInterval = false, "v1", time.Nanosecond
	s.remembering(t, dir)
	if _, err := s.engine.Refresh(t.Context(), o, &meter{}); err != nil {
		t.Fatal(err)
	}
	whole(t, s.target, "team/app", later, later)
}
