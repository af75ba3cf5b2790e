package mirror

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/wire"
)

// maxNameless is how many of the names that are no tags are counted, and maxNamelessShown how many are shown.
const (
	maxNameless      = 1000
	maxNamelessShown = 3
)

// nameless gathers the listed names that are not valid tags, so that no filter can select them: the name of an image with a digest, in a
// layout that another tool wrote, or a name with other characters. A list may be read twice, so each name counts once.
type nameless struct {
	names map[string]bool
	more  bool
}

// add notes a listed name, unless it is a tag.
func (n *nameless) add(name string) {
	if image.ValidTag(name) {
		return
	}
	name = wire.Clean(name)
	switch {
	case n.names[name]:
	case len(n.names) == maxNameless:
		n.more = true
	default:
		if n.names == nil {
			n.names = map[string]bool{}
		}
		n.names[strings.Clone(name)] = true
	}
}

// String returns number and examples, as in "2 names that are not tags: a@sha256:…, b c"; empty for none.
func (n *nameless) String() string {
	if len(n.names) == 0 {
		return ""
	}
	count, what := fmt.Sprint(len(n.names)), "names that are not tags"
	if n.more {
		count = "more than " + count
	} else if len(n.names) == 1 {
		what = "name that is not a tag"
	}
	return fmt.Sprintf("%s %s: %s", count, what, strings.Join(n.shown(), ", "))
}

func (n *nameless) shown() []string {
	var all []string
	for name := range n.names {
		all = append(all, fmt.Sprintf("%q", name))
	}
	slices.Sort(all)
	if len(all) > maxNamelessShown {
		all = append(all[:maxNamelessShown], "…")
	}
	return all
}

// warn logs the names, once for each repository as long as they stay the same.
func (m *Mirror) warn(ctx context.Context, job plan.Job, repo image.Repository, n *nameless) {
	text := n.String()
	if before, _ := m.nameless.Swap(repo, text); text == "" || before == text {
		return
	}
	m.Log.LogAttrs(ctx, slog.LevelWarn, "passing over names that are not tags; to import such an image, name its digest in a mapping",
		slog.String("job", job.Name), slog.String("source", repo.String()), slog.String("reason", text))
}
