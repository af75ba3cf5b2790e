package mirror_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/registry"
)

// timed keeps when imports ended.
type timed struct {
	*records
	times chan time.Time
}

func (w timed) End(out mirror.Outcome) {
	w.records.End(out)
	w.times <- time.Now()
}

// TestNarrowTarget: at a target that takes one request at a time images are finished one after the other: when half the time is over, about
// half of them are there.
func TestNarrowTarget(t *testing.T) {
	inBubble(t, func(t *testing.T, s *stand) {
		const images = 20
		for i := range images {
			size := int64(1000 + i*7919%images*10_000)
			if err := emulator.SingleArch(int64(i), "linux/amd64", emulator.ImageOptions{Layers: 4, LayerSize: size}).Push(s.a, "x", fmt.Sprintf("v%d", i)); err != nil {
				t.Fatal(err)
			}
		}
		uploads := func(r *http.Request) bool { return r.Method == http.MethodPut && r.URL.Query().Get("digest") != "" }
		s.b.Inject(emulator.Fault{Match: uploads, Delay: time.Second})
		s.b.Inject(emulator.Fault{Delay: 100 * time.Millisecond})
		s.hosts = map[string]registry.Host{hostB: {Concurrency: 1}}
		s.renew(t)
		ended := timed{s.records, make(chan time.Time, images)}
		s.mirror.Watcher = ended
		j, begun := job(t, "x", "x", []string{"*"}, hostA, hostB), time.Now()
		j.Timeout = time.Hour
		s.sync(t, j)
		half, early := begun.Add(time.Since(begun)/2), 0
		for range images {
			if (<-ended.times).Before(half) {
				early++
			}
		}
		if early < images/2-2 {
			t.Errorf("%d of %d images are there after half of %v", early, images, time.Since(begun))
		}
	})
}
