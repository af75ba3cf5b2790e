package mirror

import (
	"errors"
	"fmt"
	"strings"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/record"
	"github.com/draysync/dray/internal/tagfilter"
)

// tooFew returns the outcomes of a route with too few selected tags, one for each target.
func tooFew(job plan.Job, route plan.Route, err error) []Outcome {
	var all []Outcome
	for _, target := range route.Targets {
		all = append(all, Outcome{
			Job: job.Name, Status: record.NothingChosen, Err: At(Source, route.Source, err),
			Action: diff.Action{
				Op: diff.Import, Reason: diff.NothingChosen,
				Source: image.Reference{Repository: route.Source}, Target: image.Reference{Repository: target},
			},
		})
	}
	return all
}

func repositories(refs []image.Reference) []image.Repository {
	var all []image.Repository
	for _, ref := range refs {
		all = append(all, ref.Repository)
	}
	return all
}

// wayOut says what to do if selecting nothing is right.
const wayOut = "write tags.min: 0 where that is right"

func noRepository(patterns []string) error {
	return fmt.Errorf("no repository below it matches %q: correct `repositories`, or %s", patterns, wayOut)
}

// fewTags says which sets of a filter select too few tags, and what there is instead; nil if none does.
func fewTags(short []tagfilter.Short, instead string) error {
	if len(short) == 0 {
		return nil
	}
	var parts []string
	for _, s := range short {
		switch {
		case s.Chosen > 0:
			parts = append(parts, fmt.Sprintf("%d of at least %d tags are chosen by [%s]", s.Chosen, s.Min, s.Set))
		case s.Min > 1:
			parts = append(parts, fmt.Sprintf("no tag is chosen of at least %d by [%s]", s.Min, s.Set))
		default:
			parts = append(parts, fmt.Sprintf("no tag is chosen by [%s]", s.Set))
		}
	}
	return errors.New(strings.Join(parts, ", and ") + instead + ": correct `tags`, or " + wayOut)
}
