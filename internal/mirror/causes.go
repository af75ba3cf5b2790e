package mirror

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/record"
)

// maxExamples is how many references a cause names.
const maxExamples = 3

// Causes returns why jobs and imports have failed: each cause once, the most frequent first. An interruption is not a failure.
func Causes(results ...Result) []record.Cause {
	var c causes
	for _, r := range results {
		if r.Err != nil {
			c.add("job", r.Job, r.Job, r.Err.Error(), sameness(r.Err), r.Err)
		}
		for _, out := range r.Outcomes {
			if !out.Status.Failure() {
				continue
			}
			err := out.Err
			if err == nil {
				err = errors.New("failed")
			}
			c.add("image", r.Job, named(out.Target), located(out, err), sameness(err, named(out.Source), named(out.Target)), err)
		}
	}
	list := make([]record.Cause, 0, len(c.order))
	for _, key := range c.order {
		list = append(list, *c.found[key])
	}
	slices.SortStableFunc(list, func(a, b record.Cause) int { return cmp.Compare(b.Count, a.Count) })
	return list
}

// causes are collected error by error.
type causes struct {
	found map[string]*record.Cause
	order []string
}

// add counts an error of a reference. alone is the message if it is the only error of its cause.
func (s *causes) add(kind, job, ref, alone, same string, err error) {
	if Interrupted(err) {
		return
	}
	key := kind + " " + same
	c := s.found[key]
	if c == nil {
		c = &record.Cause{Error: alone, Code: record.Code(err), Job: job}
		if s.found == nil {
			s.found = map[string]*record.Cause{}
		}
		s.found[key] = c
		s.order = append(s.order, key)
	} else {
		c.Error = withoutReference(err)
	}
	if c.Count++; len(c.References) < maxExamples {
		c.References = append(c.References, ref)
	}
	if c.Job != job {
		c.Job = ""
	}
}

// named returns a reference as written for people.
func named(ref image.Reference) string {
	if ref.Tag != "" {
		ref = ref.WithDigest("")
	}
	return ref.String()
}

// located returns the text of an outcome's error, with its reference.
func located(out Outcome, err error) string {
	if _, ok := errors.AsType[*SideError](err); ok || out.Source.IsZero() {
		return err.Error()
	}
	return fmt.Sprintf("%s → %s: %v", named(out.Source), named(out.Target), err)
}

// Interrupted reports whether something was told to end.
func Interrupted(err error) bool {
	return errors.Is(err, context.Canceled) && !errors.Is(err, errTimeout) || errors.Is(err, ErrStopping)
}

// varying matches the parts in which errors of one cause differ: digests, counts, temporary files of a layout, and UUIDs of requests.
var varying = regexp.MustCompile(`sha(256|512):[0-9a-f]+|\(\d+ attempts?\)|\.dray-tmp/\d+|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}`)

// sameness returns what errors of one cause have in common: their text without references.
func sameness(err error, about ...string) string {
	text := withoutReference(err)
	for _, ref := range about {
		text = strings.ReplaceAll(text, ref, "")
	}
	return varying.ReplaceAllString(text, "")
}

// withoutReference returns the text of an error; if it has a side, with the registry instead of the reference.
func withoutReference(err error) string {
	side, ok := errors.AsType[*SideError](err)
	if !ok {
		return err.Error()
	}
	where := "a folder"
	if host, _, ok := strings.Cut(side.Ref, "/"); ok && !strings.HasPrefix(side.Ref, image.LayoutScheme) {
		where = host + "/…"
	}
	return strings.Replace(err.Error(), side.Error(), fmt.Sprintf("%s %s: %v", side.Side, where, side.Err), 1)
}
