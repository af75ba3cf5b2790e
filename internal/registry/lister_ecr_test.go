package registry

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/image"
)

// refusal is an error of AWS.
type refusal struct{ temporary bool }

func (refusal) Error() string     { return "refused" }
func (r refusal) Temporary() bool { return r.temporary }

// TestECR: AWS lists the tags of a private registry, and is believed as other listings are. What it does not list is left to HEADs, and it is
// not asked again at once after a failure.
func TestECR(t *testing.T) {
	const private = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"
	for name, c := range map[string]struct {
		host         string
		wrong        string // is what all tags are listed with
		err          error
		hangs, none  bool
		want, asked  int
		again, heads int // how often it was asked after a second run, and the HEADs of both
		takes        time.Duration
	}{
		"lists":           {want: 50, asked: 1, again: 2, heads: 3},
		"is wrong":        {wrong: string(content([]byte("other")).Digest), asked: 2, again: 2, heads: 1},
		"is refused":      {err: refusal{}, asked: 1, again: 1},
		"fails":           {err: refusal{temporary: true}, asked: 1, again: 1},
		"has none":        {err: fmt.Errorf("list: %w", image.ErrAbsent), asked: 1, again: 1},
		"never answers":   {hangs: true, asked: 1, again: 1, takes: listedDeadline},
		"no such listing": {none: true},
		"ECR Public":      {host: "public.ecr.aws"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := emulator.New(emulator.Options{})
				tags := manyTags(t, r, "app", 50)
				host := private
				if c.host != "" {
					host = c.host
				}
				repo := image.Repository{Registry: host, Path: "app"}
				asked := 0
				options := Options{ECR: func(ctx context.Context, got image.Repository, requests int, each func(tag, digest string)) error {
					asked++
					if got != repo || requests < 1 {
						t.Errorf("%d requests for %s", requests, got)
					}
					if c.hangs {
						<-ctx.Done()
						return context.Cause(ctx)
					}
					for _, tag := range tags {
						digest := r.Digest("app", tag)
						if c.wrong != "" {
							digest = c.wrong
						}
						each(tag, digest)
					}
					return c.err
				}}
				if c.none {
					options.ECR = nil
				}
				client := client(t, emulator.Network{host: r}, options)
				begun := time.Now()
				r.Reset()
				if n := client.Listed(t.Context(), repo, image.NewTagList(tags), begun).Len(); n != c.want || asked != c.asked {
					t.Errorf("%d tags are listed, want %d, after %d listings, want %d", n, c.want, asked, c.asked)
				}
				if took := time.Since(begun); took != c.takes {
					t.Errorf("took %s, want %s", took, c.takes)
				}
				client.Listed(t.Context(), repo, image.NewTagList(tags), time.Now())
				heads := r.Count(func(q emulator.Request) bool { return q.Method == http.MethodHead && q.Kind == emulator.KindManifest })
				if asked != c.again || heads != c.heads {
					t.Errorf("%d listings and %d HEADs in two runs, want %d and %d", asked, heads, c.again, c.heads)
				}
				if kind, _ := client.Listing(t.Context(), repo); (kind == ecr) == (c.none || c.host != "" || c.wrong != "") {
					t.Errorf("the listing is %q", kind)
				}
			})
		})
	}
}
