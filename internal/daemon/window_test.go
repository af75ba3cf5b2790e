package daemon

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/record"
	"github.com/draysync/dray/internal/schedule"
)

// within makes a job that runs between 04:00 and 06:00 only.
func within(t *testing.T, name, spec string) Job {
	t.Helper()
	j := job(t, name, spec, "04:00-06:00")
	var err error
	if j.Windows, err = new(schedule.Parser).Windows([]schedule.Window{{From: "04:00", To: "06:00"}}, ""); err != nil {
		t.Fatal(err)
	}
	return j
}

// TestWindows runs a job in its windows only, unless somebody asks for it, and says what it waits for.
func TestWindows(t *testing.T) {
	inBubble(t, config{jobs: []Job{within(t, "a", "@every 1h")}}, func(t *testing.T, s *stand) {
		at := func(hours time.Duration) record.JobStatus {
			t.Helper()
			time.Sleep(time.Until(epoch.Add(hours * hour)))
			snapshot, err := s.Snapshot(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return snapshot.Jobs[0]
		}
		for _, tt := range []struct {
			at, due  time.Duration
			deferred bool
		}{{1, 4, true}, {5, 28, false}, {7, 28, true}} {
			j := at(tt.at)
			if tt.at == 5 {
				time.Sleep(minute)
				j = at(5)
			}
			if !j.Due.Equal(epoch.Add(tt.due*hour)) || j.OutsideWindows != tt.deferred || j.DeferredUntil.IsZero() == tt.deferred || (j.State == record.JobDeferred) != tt.deferred {
				t.Errorf("at %d: %+v", tt.at, j)
			}
		}
		if found, err := s.Trigger(t.Context(), "a"); !found || err != nil {
			t.Error(found, err)
		}
		time.Sleep(minute) // that run has ended
		if err := s.Look(t.Context(), map[string][]image.Reference{"a": {tagOf("a", "v1")}}); err != nil {
			t.Error(err)
		}
		at(30)
		if d := cmp.Diff([]time.Duration{4 * hour, 5 * hour, 7 * hour, 28 * hour, 29 * hour}, s.runs("a")); d != "" {
			t.Error(d)
		}
		for _, message := range []string{"runs outside of its windows, as it was asked for", "outside of its windows, deferred", "the next run waits for a window"} {
			if !strings.Contains(s.log.String(), message) {
				t.Errorf("the log does not say %q\n%s", message, s.log)
			}
		}
	})
}

// TestWindowEnd has runs under way when their window ends, and one that gets its slot too late.
func TestWindowEnd(t *testing.T) {
	for name, cut := range map[string]bool{"finish": false, "cut": true} {
		t.Run(name, func(t *testing.T) {
			first, second := within(t, "a", "@daily"), within(t, "b", "@daily")
			first.CutAtEnd, second.CutAtEnd = cut, cut
			inBubble(t, config{jobs: []Job{first, second}, parallel: 1, takes: 3 * hour, steps: 100 * time.Millisecond}, func(t *testing.T, s *stand) {
				time.Sleep(8 * hour)
				snapshot, err := s.Snapshot(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				ran := 0
				for _, j := range snapshot.Jobs {
					if !j.Due.Equal(epoch.Add(28*hour)) || j.Failures > 0 {
						t.Errorf("%+v", j)
					}
					if j.Last == nil {
						continue
					}
					ran++
					outcome, ended := record.RunOK, 7*hour
					if cut {
						outcome, ended = record.RunCutOff, 6*hour
					}
					if j.Last.Outcome != outcome || j.Last.Ended.Sub(epoch).Round(minute) != ended || cut && j.Last.Error != "its window has ended" {
						t.Errorf("%+v", j.Last)
					}
				}
				if ran != 1 {
					t.Errorf("%d jobs have run", ran)
				}
			})
		})
	}
}
