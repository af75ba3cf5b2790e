package bench

import (
	"fmt"
	"slices"
	"strings"

	"github.com/draysync/dray/cmd/draybench/internal/corpus"
	"github.com/draysync/dray/cmd/draybench/internal/peer"
)

// The scenarios, in the order in which one run goes through them.
const (
	first     = "first"     // the target is empty
	noop      = "noop"      // nothing has changed
	listed    = "listed"    // nothing has changed, and both registries list their tags with digests
	shared    = "shared"    // a new repository, of images that other repositories have
	forgotten = "forgotten" // another one, and the tool's home is empty again
	moved     = "moved"     // one tag moved to a rebuilt image
)

// Scenarios returns the names of all scenarios.
func Scenarios() []string { return []string{first, noop, listed, shared, forgotten, moved} }

// needed returns the scenarios that a run goes through to measure those wanted.
func needed(wanted []string) ([]string, error) {
	for _, name := range wanted {
		if !slices.Contains(Scenarios(), name) {
			return nil, fmt.Errorf("no scenario is named %q; there are %s", name, strings.Join(Scenarios(), ", "))
		}
	}
	var names []string
	for _, name := range Scenarios() {
		if name == first || slices.Contains(wanted, name) || name == noop && slices.Contains(wanted, moved) {
			names = append(names, name)
		}
	}
	return names, nil
}

// task is what a tool is asked for in a scenario: copies, and the digests that the target shall have.
type task struct {
	copies []peer.Copy
	want   map[image]string
}

// image is a tag at the target.
type image struct{ repository, tag string }

// plan makes the task of a scenario.
func plan(content corpus.Content, scenario string) task {
	repositories := slices.Clone(content.Repositories)
	switch scenario {
	case shared:
		repositories = append(repositories, content.Promoted[0])
	case forgotten:
		repositories = append(repositories, content.Promoted[1])
	}
	t := task{want: map[image]string{}}
	for _, repository := range repositories {
		target := "mirror/" + repository.Path[strings.LastIndexByte(repository.Path, '/')+1:]
		c := peer.Copy{Repository: repository.Path, Target: target}
		for _, tag := range repository.Tags {
			c.Tags = append(c.Tags, tag.Name)
			digest := tag.Digest
			if r := content.Rebuilt; scenario == moved && r.Repository == repository.Path && r.Tag == tag.Name {
				digest = r.Digest
			}
			t.want[image{target, tag.Name}] = digest
		}
		t.copies = append(t.copies, c)
	}
	return t
}
