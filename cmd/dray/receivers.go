package main

import (
	"context"
	"sync/atomic"

	"github.com/draysync/dray/internal/config"
	"github.com/draysync/dray/internal/daemon"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/receiver"
)

// looks passes the tags of events to the jobs that choose them.
type looks struct {
	daemon *daemon.Daemon
	// sources are the sources of the running config.
	sources *atomic.Pointer[plan.Sources]
	// unsigned are the tags that wait for a signature.
	unsigned *mirror.Unsigned
}

// look has the jobs that may choose the tags check them soon. The tag of a signature stands for those of the images that wait for it, too, and so does the
// digest of an image.
func (l looks) look(ctx context.Context, tags []image.Reference) ([]receiver.Outcome, error) {
	outcomes, wanted := l.wanted(tags)
	if len(wanted) == 0 {
		return outcomes, nil
	}
	return outcomes, unavailable(l.daemon.Look(ctx, wanted))
}

// wanted returns the outcomes of tags, and by the jobs' names which tags they are to check. One event may name ten thousand tags.
func (l looks) wanted(tags []image.Reference) ([]receiver.Outcome, map[string][]image.Reference) {
	sources := l.sources.Load()
	outcomes := make([]receiver.Outcome, len(tags))
	wanted := map[string][]image.Reference{}
	type wish struct {
		job string
		tag image.Reference
	}
	noted := map[wish]bool{}
	want := func(tag image.Reference, jobs []string) {
		for _, job := range jobs {
			if w := (wish{job, tag}); !noted[w] {
				noted[w] = true
				wanted[job] = append(wanted[job], tag)
			}
		}
	}
	first := map[image.Reference]int{}
	for i, tag := range tags {
		if j, again := first[tag]; again {
			outcomes[i] = outcomes[j]
			continue
		}
		first[tag] = i
		var jobs []string
		known := false
		if tag.Tag != "" {
			jobs, known = sources.Wanting(tag)
			want(tag, jobs)
		}
		waiting := l.unsigned.SignedBy(tag)
		for _, signed := range waiting {
			jobs, _ := sources.Wanting(signed)
			want(signed, jobs)
		}
		switch {
		case len(jobs)+len(waiting) > 0:
			outcomes[i] = receiver.Accepted
		case tag.Tag == "":
			outcomes[i] = receiver.Ignored
		case known:
			outcomes[i] = receiver.Unchosen
		default:
			outcomes[i] = receiver.Unwanted
		}
	}
	return outcomes, wanted
}

func receiversOf(cfg *config.Config) []receiver.Receiver {
	all := make([]receiver.Receiver, 0, len(cfg.Receivers))
	for _, r := range cfg.Receivers {
		all = append(all, r.Options())
	}
	return all
}

// references parses the output of [image.Reference.String].
func references(names []string) []image.Reference {
	all := make([]image.Reference, 0, len(names))
	for _, name := range names {
		if ref, err := image.Parse(name); err == nil {
			all = append(all, ref)
		}
	}
	return all
}
