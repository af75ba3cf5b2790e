package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/draysync/dray/internal/image"
)

// Sources finds the jobs that may choose a tag of a source.
type Sources struct {
	jobs []Job
	// exact has the jobs with one source repository, by repository; below has those with several, by registry.
	exact map[image.Repository][]int
	below map[string][]int
}

// SourcesOf returns the sources of jobs.
func SourcesOf(jobs []Job) Sources {
	s := Sources{jobs: jobs, exact: map[image.Repository][]int{}, below: map[string][]int{}}
	for i, job := range jobs {
		if len(job.Repositories) > 0 {
			s.below[job.Source.Registry] = append(s.below[job.Source.Registry], i)
			continue
		}
		for _, source := range job.Sources() {
			if of := s.exact[source.Repository]; len(of) == 0 || of[len(of)-1] != i {
				s.exact[source.Repository] = append(of, i)
			}
		}
	}
	return s
}

// Wanting returns the names of the jobs that may choose a tag, in their order, and whether any has its repository as a source.
func (s Sources) Wanting(tag image.Reference) (names []string, known bool) {
	of := slices.Clone(s.exact[tag.Repository])
	for _, i := range s.below[tag.Registry] {
		if _, ok := s.jobs[i].RouteOf(tag.Repository); ok {
			of = append(of, i)
		}
	}
	slices.Sort(of)
	for _, i := range of {
		if job := s.jobs[i]; job.wants(tag) {
			names = append(names, job.Name)
		}
	}
	return names, len(of) > 0
}

// Covering returns the names of the jobs that import an image which a file names: by its tag, or the image itself by its digest.
func (s Sources) Covering(ref image.Reference) (names []string) {
	if ref.Tag != "" {
		names, _ = s.Wanting(ref.Repository.Tag(ref.Tag))
	}
	for _, i := range s.exact[ref.Repository] {
		if job := s.jobs[i]; slices.Contains(job.Sources(), ref) && !slices.Contains(names, job.Name) {
			names = append(names, job.Name)
		}
	}
	return names
}

// Named returns the source reference for a tag of a job. A job of several repositories needs REPOSITORY:TAG, with the registry. found is false if there
// is no such job. The error says why the job does not choose the tag.
func (s Sources) Named(name, tag string) (ref image.Reference, found bool, err error) {
	i := slices.IndexFunc(s.jobs, func(j Job) bool { return j.Name == name })
	if i < 0 {
		return image.Reference{}, false, nil
	}
	switch job := s.jobs[i]; {
	case strings.ContainsAny(tag, "/:"):
		ref, err = image.Parse(tag)
	case job.Images != nil:
		err = fmt.Errorf("the mapping %q has several repositories: write REGISTRY/REPOSITORY:TAG", name)
	case len(job.Repositories) > 0:
		err = fmt.Errorf("the mapping %q has several repositories: write %s/REPOSITORY:TAG", name, job.Source)
	case !image.ValidTag(tag):
		err = fmt.Errorf("%q is not a tag", tag)
	default:
		ref = job.Source.Repository.Tag(tag)
	}
	if err != nil {
		return image.Reference{}, true, err
	}
	if jobs, _ := s.Wanting(ref); !slices.Contains(jobs, name) {
		return image.Reference{}, true, fmt.Errorf("the mapping %q does not choose %s", name, ref)
	}
	return ref, true, nil
}

// wants reports whether the job may choose a tag of one of its sources. A source pinned to a digest does not move.
func (j Job) wants(tag image.Reference) bool {
	switch {
	case j.Image():
		return j.Source.Digest == "" && j.Source.Tag == tag.Tag
	case j.Images != nil:
		return slices.ContainsFunc(j.Images, func(i Image) bool { return i.Source == tag })
	}
	return j.Tags.CanChoose(tag.Tag)
}
