package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/record"
)

// want is what the config asks for one tag of one target.
type want struct {
	*randomRoute
	tag    string
	source string // the digest at the source; "" where a tag that is named is not there
	digest string // what the target is to hold
	body   []byte // the manifest of that digest
	// refused: the source does not have the platform.
	refused bool
}

// wants is what the config asks for now, from the source's content alone.
func (w *randomWorld) wants() []want {
	var list []want
	for _, r := range w.routes {
		tags := slices.DeleteFunc(w.source.Tags(r.repository), func(tag string) bool { return !r.tags.matches(tag) })
		tags = append(tags, r.tags.literals...)
		slices.Sort(tags)
		for _, tag := range slices.Compact(tags) {
			list = append(list, w.want(r, tag))
		}
	}
	return list
}

func (w *randomWorld) want(r *randomRoute, tag string) want {
	one := want{randomRoute: r, tag: tag, source: w.source.Digest(r.repository, tag)}
	if one.source == "" {
		return one
	}
	media, body, _ := w.source.Manifest(r.repository, one.source)
	one.digest, one.body = one.source, body
	if platform, single := w.single[one.source]; r.amd64Only && single {
		one.refused = platform != "linux/amd64"
	} else if r.amd64Only && (strings.Contains(media, "index") || strings.Contains(media, "manifest.list")) {
		one.body, one.refused = onlyAMD64(media, body)
		one.digest = registry.Sum(one.body)
	}
	return one
}

// onlyAMD64 is the index with the entries for linux/amd64 and the attestations of these, verbatim and in order.
func onlyAMD64(media string, body []byte) (less []byte, refused bool) {
	var list struct{ Manifests []json.RawMessage }
	if err := json.Unmarshal(body, &list); err != nil {
		panic(err) // the emulator has accepted it
	}
	entries := parseDocument(body).Manifests
	fits := map[string]bool{}
	for _, e := range entries {
		if e.Platform.OS == "linux" && e.Platform.Architecture == "amd64" {
			fits[e.Digest] = true
		}
	}
	if len(fits) == 0 {
		return body, true
	}
	var kept []json.RawMessage
	for i, e := range entries {
		if fits[e.Digest] || fits[e.Annotations["vnd.docker.reference.digest"]] {
			kept = append(kept, list.Manifests[i])
		}
	}
	return encodeIndex(2, media, kept), false
}

// due tells whether a sync has to bring the tag to its digest, where the target holds the given one.
func (o want) due(held string) bool {
	return o.source != "" && !o.refused && (!o.refuseMoved || held == "" || held == o.digest)
}

// attachments are what refers to the wanted manifest and is copied with it: referrers with their subject, and cosign's tags.
func (w *randomWorld) attachments(o want) (referrers []subject, tags []string) {
	if !o.referrers {
		return nil, nil
	}
	var about []string
	if o.digest == o.source {
		about = append(about, o.digest)
	}
	about = append(about, parseDocument(o.body).children()...)
	for _, digest := range about {
		if tag := strings.Replace(digest, ":", "-", 1) + ".sig"; w.source.Digest(o.repository, tag) != "" {
			tags = append(tags, tag)
		}
		for todo := []string{digest}; len(todo) > 0; todo = todo[1:] {
			for _, a := range w.artifacts[subject{o.repository, todo[0]}] {
				referrers = append(referrers, subject{todo[0], a})
				todo = append(todo, a)
			}
		}
	}
	return referrers, tags
}

// moment is what there was before an operation.
type moment struct {
	wants []want
	held  map[*randomPlace]map[string]string
	lists map[*randomPlace]map[string][]string // the fallback tags, with what they list
}

func (w *randomWorld) now() moment {
	m := moment{wants: w.wants(), held: map[*randomPlace]map[string]string{}, lists: map[*randomPlace]map[string][]string{}}
	for _, p := range w.places {
		m.held[p], m.lists[p] = p.snapshot(), map[string][]string{}
		for tag, digest := range m.held[p] {
			if fallback(tag) {
				m.lists[p][tag] = parseDocument(p.manifest(digest)).children()
			}
		}
	}
	return m
}

// check compares the targets with the model after a sync. One that was not disturbed, or so that dray has to fix it, is complete:
// then every tag holds what the config asks for. Of any other each tag is as it was or as it should be; and in both cases
// nothing is tagged that is not whole, and nothing else is changed.
func (w *randomWorld) check(t *testing.T, before moment, complete bool) {
	t.Helper()
	for _, p := range w.places {
		digests, references := p.pushed()
		after := p.snapshot()
		for tag, d := range after {
			if p.host == nil && before.held[p][tag] != d {
				digests = append(digests, d)
			}
		}
		p.learn(digests)
		wanted := map[string]want{}
		for _, o := range before.wants {
			if o.place == p {
				wanted[o.tag] = o
			}
		}
		for tag, digest := range after {
			was := before.held[p][tag]
			o, selected := wanted[tag]
			switch {
			case digest == was:
			case selected && digest == o.digest && o.due(was):
				w.arrived(t, p, o, digest)
			case attachmentTag(tag) && !selected:
				w.attachmentChanged(t, p, before, tag, digest)
			default:
				t.Errorf("%s:%s was %q and is %s, which nobody asked for", p.target, tag, was, digest)
			}
		}
		for tag, was := range before.held[p] {
			if after[tag] == "" {
				t.Errorf("%s:%s is gone; it was %s", p.target, tag, was)
			}
		}
		if complete {
			for _, o := range wanted {
				if o.due(before.held[p][o.tag]) {
					w.arrived(t, p, o, after[o.tag])
				}
			}
		}
		w.onlyWanted(t, p, before.wants, references)
	}
	w.onlyWrites(t)
}

// arrived checks a tag that a sync has written, or that it has found to be right.
func (w *randomWorld) arrived(t *testing.T, p *randomPlace, o want, digest string) {
	t.Helper()
	if digest != o.digest {
		t.Errorf("%s:%s holds %q, want %s", p.target, o.tag, digest, o.digest)
		return
	}
	if err := p.broken(digest); err != nil {
		t.Errorf("%s:%s is broken: %v", p.target, o.tag, err)
	}
	referrers, tags := w.attachments(o)
	for _, r := range referrers {
		if !p.lists(r.repository, r.digest) {
			t.Errorf("%s:%s: the referrer %s of %s is not listed", p.target, o.tag, r.digest, r.repository)
		} else if err := p.broken(r.digest); err != nil {
			t.Errorf("%s:%s: a referrer is broken: %v", p.target, o.tag, err)
		}
	}
	for _, tag := range tags {
		if got, want := p.digest(tag), w.source.Digest(o.repository, tag); got != want {
			t.Errorf("%s:%s: its signature %s is %q, want %s", p.target, o.tag, tag, got, want)
		} else if err := p.broken(want); err != nil {
			t.Errorf("%s:%s: its signature is broken: %v", p.target, o.tag, err)
		}
	}
}

// attachmentChanged checks a tag of an artifact that a sync has written.
func (w *randomWorld) attachmentChanged(t *testing.T, p *randomPlace, before moment, tag, digest string) {
	t.Helper()
	if strings.HasSuffix(tag, ".sig") {
		known := slices.ContainsFunc(w.repositories, func(repo string) bool { return w.source.Digest(repo, tag) == digest })
		if err := p.broken(digest); err != nil || !known {
			t.Errorf("%s:%s is %s: at the source: %t, broken: %v", p.target, tag, digest, known, err)
		}
		return
	}
	listed := parseDocument(p.manifest(digest)).children()
	for _, d := range before.lists[p][tag] {
		if !slices.Contains(listed, d) {
			t.Errorf("%s:%s no longer lists %s", p.target, tag, d)
		}
	}
}

// onlyWanted checks that every manifest that was pushed is below what the config asks for.
func (w *randomWorld) onlyWanted(t *testing.T, p *randomPlace, wants []want, references []string) {
	t.Helper()
	allowed := map[string]bool{}
	for _, o := range wants {
		if o.place != p || o.refused || o.source == "" {
			continue
		}
		allowed[o.tag], allowed[o.digest] = true, true
		from := newPlace(inRegistry{w.source.Registry, o.repository}, "")
		for _, c := range parseDocument(o.body).children() {
			from.reach(c, allowed)
		}
		referrers, tags := w.attachments(o)
		for _, r := range referrers {
			from.reach(r.digest, allowed)
			allowed[strings.Replace(r.repository, ":", "-", 1)] = true
		}
		for _, tag := range tags {
			allowed[tag] = true
			from.reach(w.source.Digest(o.repository, tag), allowed)
		}
	}
	for _, r := range references {
		if !allowed[r] {
			t.Errorf("%s: the manifest %s was pushed, which nobody asked for", p.target, r)
		}
	}
}

// onlyWrites checks that nothing was deleted, that nothing was written to the source, and no repository that is no target.
func (w *randomWorld) onlyWrites(t *testing.T) {
	t.Helper()
	for _, r := range w.source.Requests() {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			t.Errorf("%s %s at the source", r.Method, r.Path)
		}
	}
	for _, h := range w.targets {
		for _, r := range h.Requests() {
			if r.Method == http.MethodDelete && r.Kind != registry.KindUpload {
				t.Errorf("%s %s at a target", r.Method, r.Path)
			}
		}
		known := map[string]bool{}
		for _, p := range w.places {
			known[p.path] = p.host == h || known[p.path]
		}
		for _, repo := range h.Repositories() {
			if !known[repo] {
				t.Errorf("the repository %s is no target", repo)
			}
		}
	}
}

// onlyKeeps wants a plan to say that nothing is left to do, and to write nothing.
func (w *randomWorld) onlyKeeps(t *testing.T) {
	t.Helper()
	w.forget()
	before := w.now()
	wants := map[string]want{}
	for _, o := range before.wants {
		wants[o.place.target+":"+o.tag] = o
	}
	doc, a := drayJSON(t, "plan", "-c", w.config)
	if code := exitCode(before); a.code != code {
		t.Errorf("plan: exit code %d, want %d", a.code, code)
	}
	seen := 0
	for _, job := range doc.Jobs {
		if job.Error != "" {
			t.Errorf("plan: %s", job.Error)
		}
		for _, action := range job.Actions {
			seen++
			w.expected(t, before, wants, action)
		}
	}
	if seen != len(wants) {
		t.Errorf("plan: %d actions, want %d: %+v", seen, len(wants), slices.Sorted(maps.Keys(wants)))
	}
	for _, h := range w.targets {
		if n := h.Count(func(r registry.Request) bool { return r.Method != http.MethodGet && r.Method != http.MethodHead }); n > 0 {
			t.Errorf("plan: %d writes", n)
		}
	}
}

// expected checks one action of a plan.
func (w *randomWorld) expected(t *testing.T, before moment, wants map[string]want, action record.Action) {
	t.Helper()
	o, known := wants[action.Target]
	if !known {
		t.Errorf("plan: an action for %s, which nobody asked for", action.Target)
		return
	}
	op := "keep"
	switch {
	case o.source == "":
		op = "import" // that could not be observed
	case !o.due(before.held[o.place][o.tag]):
		op = "refuse"
	}
	if action.Op != op {
		t.Errorf("plan: %s %s (%s; was %s, wants %s), want %s", action.Op, action.Target, action.Reason, action.Was, action.Digest, op)
	}
}

// exitCode is the one of a sync or a plan that has come to its end.
func exitCode(before moment) int {
	for _, o := range before.wants {
		if !o.due(before.held[o.place][o.tag]) {
			return exitPartly
		}
	}
	return exitDone
}

// forget empties the logs of the registries.
func (w *randomWorld) forget() {
	w.source.Reset()
	for _, h := range w.targets {
		h.Reset()
	}
}

func (w *randomWorld) did(format string, args ...any) {
	w.done = append(w.done, fmt.Sprintf(format, args...))
}

// short cuts digests, which are long.
func short(digest string) string { return digest[:min(len(digest), 15)] }
