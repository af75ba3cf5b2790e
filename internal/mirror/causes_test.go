package mirror_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/record"
)

func TestCauses(t *testing.T) {
	ref := func(host, tag string) image.Reference {
		return image.Repository{Registry: host, Path: "app"}.Tag(tag)
	}
	failed := func(n int, err func(source, target image.Reference) error) (list []mirror.Outcome) {
		for i := range n {
			source, target := ref("s.example", fmt.Sprint("v", i)), ref("t.example", fmt.Sprint("v", i))
			list = append(list, mirror.Outcome{Action: diff.Action{Source: source, Target: target}, Status: record.Failed, Err: err(source, target)})
		}
		return list
	}
	dead := func(_, target image.Reference) error {
		return mirror.At(mirror.Target, target, fmt.Errorf("HEAD manifest: no answer (%d attempts)", 1+len(target.Tag)))
	}
	blob := func(source, target image.Reference) error {
		digest := "sha256:" + strings.Repeat(string(target.Tag[1]), 64)
		return &mirror.SideError{Side: mirror.Source, Ref: source.Repository.String() + "@" + digest, For: source.String(), Err: errors.New("blob " + digest + ": 404")}
	}
	plain := func(source, _ image.Reference) error { return fmt.Errorf("%s has no platform", source) }
	stopped := func(_, target image.Reference) error { return mirror.At(mirror.Target, target, context.Canceled) }
	unlike := func(_, target image.Reference) error { return errors.New("all of " + target.Tag) }
	full := func(_, target image.Reference) error {
		return fmt.Errorf("write out/.dray-tmp/%s1: no space left", target.Tag[1:])
	}
	request := func(_, target image.Reference) error {
		return fmt.Errorf("503 (request 0a1b2c3d-0000-4000-8000-00000000000%s)", target.Tag[1:])
	}
	three := []string{"t.example/app:v0", "t.example/app:v1", "t.example/app:v2"}
	for name, tt := range map[string]struct {
		results []mirror.Result
		want    []string
	}{
		"nothing":     {[]mirror.Result{{Job: "a"}}, nil},
		"one":         {[]mirror.Result{{Job: "a", Outcomes: failed(1, dead)}}, []string{"a 1 target t.example/app:v0: HEAD manifest: no answer (3 attempts)"}},
		"many":        {[]mirror.Result{{Job: "a", Outcomes: failed(40, dead)}}, []string{"a 40 target t.example/…: HEAD manifest: no answer (4 attempts); 40 times, such as for t.example/app:v0, t.example/app:v1 and t.example/app:v2"}},
		"blobs":       {[]mirror.Result{{Job: "a", Outcomes: failed(3, blob)}}, []string{"a 3 source s.example/…: blob sha256:" + strings.Repeat("2", 64) + ": 404; 3 times, such as for t.example/app:v0, t.example/app:v1 and t.example/app:v2"}},
		"full disk":   {[]mirror.Result{{Job: "a", Outcomes: failed(2, full)}}, []string{"a 2 write out/.dray-tmp/11: no space left; 2 times, such as for t.example/app:v0 and t.example/app:v1"}},
		"request IDs": {[]mirror.Result{{Job: "a", Outcomes: failed(2, request)}}, []string{"a 2 503 (request 0a1b2c3d-0000-4000-8000-000000000001); 2 times, such as for t.example/app:v0 and t.example/app:v1"}},
		"no side":     {[]mirror.Result{{Job: "a", Outcomes: failed(2, plain)}}, []string{"a 2 s.example/app:v1 has no platform; 2 times, such as for t.example/app:v0 and t.example/app:v1"}},
		"located":     {[]mirror.Result{{Job: "a", Outcomes: failed(1, unlike)}}, []string{"a 1 s.example/app:v0 → t.example/app:v0: all of v0"}},
		"unlike":      {[]mirror.Result{{Job: "a", Outcomes: failed(2, unlike)}}, []string{"a 1 s.example/app:v0 → t.example/app:v0: all of v0", "a 1 s.example/app:v1 → t.example/app:v1: all of v1"}},
		"interrupted": {[]mirror.Result{{Job: "a", Outcomes: failed(40, stopped)}, {Job: "b", Err: context.Canceled}}, nil},
		"two jobs": {
			[]mirror.Result{{Job: "a", Outcomes: failed(1, plain)}, {Job: "b", Outcomes: failed(2, dead)}, {Job: "c", Outcomes: failed(1, dead)}},
			[]string{" 3 target t.example/…: HEAD manifest: no answer (3 attempts); 3 times, such as for t.example/app:v0, t.example/app:v1 and t.example/app:v0", "a 1 s.example/app:v0 → t.example/app:v0: s.example/app:v0 has no platform"},
		},
		"whole jobs": {
			[]mirror.Result{{Job: "a", Err: mirror.At(mirror.Source, ref("s.example", ""), errors.New("GET tags: 503"))}, {Job: "b", Err: mirror.At(mirror.Source, ref("s.example", ""), errors.New("GET tags: 503"))}},
			[]string{" 2 source s.example/…: GET tags: 503; 2 times, such as for a and b"},
		},
		"no reason": {[]mirror.Result{{Job: "a", Outcomes: failed(1, func(_, _ image.Reference) error { return nil })}}, []string{"a 1 s.example/app:v0 → t.example/app:v0: failed"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			causes := mirror.Causes(tt.results...)
			for _, c := range causes {
				got = append(got, fmt.Sprintf("%s %d %s", c.Job, c.Count, c))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if name == "many" && !cmp.Equal(causes[0].References, three) {
				t.Error(causes[0].References)
			}
		})
	}
	if got := mirror.Causes(); got == nil || !cmp.Equal(got, []record.Cause{}) {
		t.Error("in JSON no causes are null")
	}
}

// TestRecordInterrupted: the history says that an action was interrupted, and not which call of the program ended.
func TestRecordInterrupted(t *testing.T) {
	for err, want := range map[error]string{
		mirror.At(mirror.Target, image.Repository{Registry: "t.example", Path: "app"}, fmt.Errorf("PUT: %w", context.Canceled)): "interrupted",
		mirror.ErrStopping:     mirror.ErrStopping.Error(),
		errors.New("no space"): "no space",
	} {
		if got := (mirror.Outcome{Err: err}).Record().Error; got != want {
			t.Errorf("%v is recorded as %q, not %q", err, got, want)
		}
	}
}
