package plan

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/draysync/dray/internal/config"
	"github.com/draysync/dray/internal/image"
)

// Compile compiles each mapping to a job, in their order. It refuses two mappings if the config alone shows that they write the same target
// tag; conflicts that depend on the tags at the source are refused when the jobs run together. The error is a config.Errors, each with a position.
func Compile(cfg *config.Config) ([]Job, error) {
	jobs := make([]Job, 0, len(cfg.Mappings))
	byName, byPattern := policies(cfg)
	for _, m := range cfg.Mappings {
		jobs = append(jobs, Job{
			Name: m.Name, Source: m.Source, Targets: m.Targets, Images: imagesOf(m.Images), Repositories: m.Repositories, Tags: m.Tags, Retag: Retag(m.Retag),
			Platforms: m.Platforms, RefuseMoved: m.Moved == config.MovedRefuse, Immutable: m.Immutable, Referrers: Referrers(m.Referrers),
			ReferrersInterval: m.ReferrersInterval, ForeignLayers: m.ForeignLayers, Engine: string(m.Engine), ResolveServer: m.ResolveServer, Timeout: m.Timeout, Retries: m.Retries,
			Schedule: m.Schedule, Jitter: m.Jitter, Windows: m.Windows, CutAtEnd: m.CutAtEnd, Priority: m.Priority,
		})
		switch m.Verify {
		case "":
			jobs[len(jobs)-1].Policies = byPattern
		case config.NoPolicy:
		default:
			p := byName[m.Verify]
			if p == nil { // config refuses that
				p = &Policy{Name: m.Verify} // without keys, which nothing satisfies
			}
			jobs[len(jobs)-1].Policies = []*Policy{p}
		}
	}
	for i := range jobs {
		jobs[i].Fingerprint = jobs[i].fingerprint()
	}
	if errs := append(unverifiable(cfg.Mappings, jobs), twoWriters(cfg.Mappings, jobs)...); len(errs) > 0 {
		return nil, errs
	}
	return jobs, nil
}

func imagesOf(named []config.Image) (images []Image) {
	for _, i := range named {
		images = append(images, Image{i.Source, i.Targets})
	}
	return images
}

// unverifiable reports each mapping with a policy whose source dray cannot reach.
func unverifiable(mappings []config.Mapping, jobs []Job) config.Errors {
	var errs config.Errors
	for i, job := range jobs {
		if names := job.PolicyNames(); job.ResolveServer && len(names) > 0 {
			errs = append(errs, &config.Error{
				Pos: mappings[i].Pos, Key: "mappings[" + mappings[i].Name + "]", Err: fmt.Errorf("dray does not reach the source (resolve: server), so it cannot verify signatures there, as the policy %q says", names[0]),
				Hint: "write verify: false, or let dray resolve the tags",
			})
		}
	}
	return errs
}

// twoWriters reports each mapping that writes the same tag as an earlier one.
func twoWriters(mappings []config.Mapping, jobs []Job) config.Errors {
	writer := map[image.Reference]int{}
	var errs config.Errors
	entries := map[string]int{} // of the files so far
	for i, job := range jobs {
		entry := entries[mappings[i].Pos.File]
		entries[mappings[i].Pos.File]++
		for _, target := range job.certain() {
			first, taken := writer[target]
			if !taken {
				writer[target] = i
				continue
			}
			if first == i {
				continue
			}
			errs = append(errs, &config.Error{
				Pos: mappings[i].Pos, Key: fmt.Sprintf("mappings[%d]", entry),
				Err:  fmt.Errorf("it writes %s, as does the mapping %q on %s", target, jobs[first].Name, mappings[first].Pos.From(mappings[i].Pos.File)),
				Hint: "only one mapping may write a tag: give one of them another target, or exclude the tag from it",
			})
			break
		}
	}
	return errs
}

// certain returns the target tags that the job writes whatever the source has, sorted.
func (j Job) certain() []image.Reference {
	var refs []image.Reference
	switch literals, ok := j.Tags.Literals(); {
	case j.Image():
		refs = slices.Clone(j.Targets)
	case j.Images != nil:
		for _, i := range j.Images {
			refs = append(refs, i.Targets...)
		}
	case ok:
		routes, _ := j.Routes(nil)
		for _, route := range routes {
			for _, target := range route.Targets {
				for _, tag := range literals {
					refs = append(refs, target.Tag(route.Retag.Of(tag)))
				}
			}
		}
	}
	slices.SortFunc(refs, func(a, b image.Reference) int { return cmp.Compare(a.String(), b.String()) })
	return refs
}
