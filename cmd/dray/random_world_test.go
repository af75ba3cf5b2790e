package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/draysync/dray/internal/emulator/registry"
)

// randomWorld is what one sequence of operations plays in: a source, targets, and a config between them. All that is random in
// it comes from its seed.
type randomWorld struct {
	random       *rand.Rand
	clock        *requestClock
	commits      atomic.Bool // the clock counts only requests that write a manifest
	source       *randomHost
	targets      []*randomHost
	repositories []string // of the source
	mappings     []string // lines of the config
	routes       []*randomRoute
	places       []*randomPlace
	config       string
	layers       []registry.Layer
	images       []registry.Image
	single       map[string]string    // the platform of an image that is no index, by digest
	artifacts    map[subject][]string // digests of what refers to a manifest, at the source
	born         int64                // how many images there are
	aside        string               // an old copy of the store
	done         []string             // the operations, for the report of a failure
}

// subject is a manifest of a source repository.
type subject struct{ repository, digest string }

// randomRoute is one source repository on its way to one target, by one mapping.
type randomRoute struct {
	repository  string
	tags        randomFilter
	amd64Only   bool
	referrers   bool
	refuseMoved bool
	place       *randomPlace
}

// randomFilter is a choice of tags: as the config says it, and what it means.
type randomFilter struct {
	yaml     string
	literals []string // which have to be there
	matches  func(tag string) bool
}

// both tells of a tag whether both filters choose it.
func both(one, other randomFilter) func(tag string) bool {
	return func(tag string) bool { return one.matches(tag) && other.matches(tag) }
}

// The tags that operations at the source write. Artifacts have others beside them, which begin with sha256-.
func randomTags() []string { return []string{"v1", "v2", "edge", "early"} }

func randomFilters() []randomFilter {
	begins := func(prefix string) func(string) bool {
		return func(tag string) bool { return strings.HasPrefix(tag, prefix) }
	}
	among := func(list ...string) func(string) bool {
		return func(tag string) bool { return slices.Contains(list, tag) }
	}
	return []randomFilter{
		{yaml: "{include: ['v*'], min: 0}", matches: begins("v")},
		{yaml: "{include: ['e*'], min: 0}", matches: begins("e")},
		{yaml: "{include: ['/v[12]/', edge], min: 0}", literals: []string{"edge"}, matches: among("v1", "v2", "edge")},
		{yaml: "[v1, edge]", literals: []string{"edge", "v1"}, matches: among("v1", "edge")},
		{yaml: "{include: ['*'], exclude: [v2, 'sha256-*'], min: 0}", matches: func(tag string) bool { return tag != "v2" && !attachmentTag(tag) }},
		{yaml: "{include: ['*'], exclude: ['sha256-*'], min: 0}", matches: func(tag string) bool { return !attachmentTag(tag) }},
	}
}

// attachmentTag tells the tag of an artifact: one of cosign's, or a list of referrers.
func attachmentTag(tag string) bool { return strings.HasPrefix(tag, "sha256-") }

// fallback tells the tag of a list of referrers.
func fallback(tag string) bool { return attachmentTag(tag) && !strings.Contains(tag, ".") }

// randomHost is a registry that can be waited for: a client that was killed may leave requests behind.
type randomHost struct {
	*registry.Registry
	api    bool // it answers the referrers API
	host   string
	server *httptest.Server

	mu     sync.Mutex
	open   int // connections
	closed sync.Cond
}

func (w *randomWorld) newHost(t *testing.T, options registry.Options) *randomHost {
	h := &randomHost{Registry: registry.New(options), api: options.Referrers}
	h.closed.L = &h.mu
	commit := registry.MatchKind(http.MethodPut, registry.KindManifest)
	h.Inject(registry.Fault{Match: func(r *http.Request) bool {
		if !w.commits.Load() || commit(r) {
			w.clock.tick(r)
		}
		return false
	}})
	h.server = httptest.NewUnstartedServer(h)
	h.server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			h.count(1)
		case http.StateClosed, http.StateHijacked:
			h.count(-1)
		}
	}
	h.server.Start()
	t.Cleanup(h.server.Close)
	h.host = h.server.Listener.Addr().String()
	return h
}

func (h *randomHost) count(connections int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open += connections
	h.closed.Broadcast()
}

// settle returns when all that a killed client has asked for is done: a connection of our own comes behind all of the client's,
// and a connection is closed only when its request is done.
func (h *randomHost) settle(t *testing.T) {
	t.Helper()
	response, err := http.Get(h.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	h.server.CloseClientConnections()
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.open > 0 {
		h.closed.Wait()
	}
}

func newRandomWorld(t *testing.T, seed uint64) *randomWorld {
	w := &randomWorld{
		random: rand.New(rand.NewPCG(seed, 3)), clock: &requestClock{}, single: map[string]string{}, artifacts: map[subject][]string{},
	}
	w.source = w.newHost(t, registry.Options{Referrers: w.chance(50), PageSize: w.random.IntN(3) * 2})
	lax := w.chance(25)
	for range 1 + w.random.IntN(2) {
		options := registry.Options{
			Referrers: w.chance(50), LaxManifests: lax,
			Uploads: registry.UploadOptions{SinglePost: w.chance(25), Forgetful: w.chance(25)},
		}
		options.Uploads.Plain = options.Uploads.SinglePost
		w.targets = append(w.targets, w.newHost(t, options))
	}
	size := int64(300)
	if w.chance(5) {
		size = 1 << 20 // from there on a blob is remembered before its manifest is there
	}
	for n := range int64(4) {
		w.layers = append(w.layers, registry.NewLayer(-1-n-int64(seed)*10, size)) //nolint:gosec // seeds are small
		size = 300
	}
	for n := range 1 + w.random.IntN(3) {
		repo := fmt.Sprintf("in/app-%d", n)
		w.repositories = append(w.repositories, repo)
		for _, tag := range randomTags() {
			if w.chance(30) {
				w.stock(t, repo, tag)
			}
		}
		w.stock(t, repo, "v1")
	}
	for n := range 1 + w.random.IntN(3) {
		w.addMapping(t, n, lax)
	}
	lines := []string{"log: {level: error}", "registries:", fmt.Sprintf("  '%s': {plainHTTP: true}", w.source.host)}
	for _, h := range w.targets {
		lines = append(lines, fmt.Sprintf("  '%s': {plainHTTP: true}", h.host))
	}
	lines = append(lines, "defaults: {retries: 1, referrersInterval: 1ns}", "mappings:")
	w.config = writeConfig(t, append(lines, w.mappings...)...)
	w.aside = t.TempDir()
	return w
}

func (w *randomWorld) chance(percent int) bool { return w.random.IntN(100) < percent }

// pick draws one of a list, whatever its length with one number, so that a list whose length depends on the moment of a kill
// does not change what is drawn after it.
func pick[T any](w *randomWorld, list []T) (one T, ok bool) {
	at := w.random.Float64()
	if len(list) == 0 {
		return one, false
	}
	return list[int(at*float64(len(list)))], true
}

// addMapping adds a mapping to the config, with a target of its own, or with the one of another mapping that takes other tags.
func (w *randomWorld) addMapping(t *testing.T, n int, lax bool) {
	filter, _ := pick(w, randomFilters())
	route := randomRoute{
		tags: filter, amd64Only: w.chance(30), referrers: w.chance(70), refuseMoved: w.chance(10),
	}
	options := fmt.Sprintf("name: m%d, referrers: %t", n, route.referrers)
	if route.amd64Only {
		options += ", platforms: [linux/amd64]"
	}
	if route.refuseMoved {
		options += ", moved: refuse"
	}
	repo, _ := pick(w, w.repositories)
	host, _ := pick(w, w.targets)
	path := fmt.Sprintf("out-%d", n)
	switch kind := w.random.IntN(10); {
	case kind < 2 && n > 0: // into the repository of the mapping before, with other tags
		first := w.routes[len(w.routes)-1]
		others := slices.DeleteFunc(randomFilters(), func(f randomFilter) bool { return slices.ContainsFunc(randomTags(), both(first.tags, f)) })
		if len(others) == 0 || slices.ContainsFunc(w.routes[:len(w.routes)-1], func(r *randomRoute) bool { return r.place == first.place }) {
			return
		}
		route.tags = others[0]
		w.route(route, repo, first.place)
		w.mapping(options, w.source.host+"/"+repo, []string{first.place.target}, route.tags)
	case kind < 4: // every repository below a prefix
		for _, each := range w.repositories {
			w.route(route, each, newRegistryPlace(host, path+"/"+strings.TrimPrefix(each, "in/"), lax))
		}
		w.mapping(options+", repositories: ['app-*']", w.source.host+"/in", []string{host.host + "/" + path}, route.tags)
	case kind < 6: // two targets
		second := w.targets[len(w.targets)-1]
		places := []*randomPlace{newRegistryPlace(host, path+"/a", lax), newRegistryPlace(second, path+"/b", lax)}
		w.route(route, repo, places...)
		w.mapping(options, w.source.host+"/"+repo, []string{places[0].target, places[1].target}, route.tags)
	case kind < 8:
		place := newLayoutPlace(t.TempDir())
		w.route(route, repo, place)
		w.mapping(options, w.source.host+"/"+repo, []string{place.target}, route.tags)
	default:
		place := newRegistryPlace(host, path, lax)
		w.route(route, repo, place)
		w.mapping(options, w.source.host+"/"+repo, []string{place.target}, route.tags)
	}
}

func (w *randomWorld) route(like randomRoute, repo string, places ...*randomPlace) {
	for _, p := range places {
		r := like
		r.repository, r.place = repo, p
		w.routes = append(w.routes, &r)
		if !slices.Contains(w.places, p) {
			w.places = append(w.places, p)
		}
	}
}

func (w *randomWorld) mapping(options, source string, targets []string, tags randomFilter) {
	w.mappings = append(w.mappings, mapping("%s, source: '%s', targets: ['%s'], tags: %s", options, source, strings.Join(targets, "', '"), tags.yaml))
}

// stock puts a new image, or one that there is elsewhere, under a tag of the source.
func (w *randomWorld) stock(t *testing.T, repo, tag string) registry.Image {
	image, ok := pick(w, w.images)
	if again := w.chance(20); !ok || !again {
		image = w.newImage()
		w.images = append(w.images, image)
	}
	if err := image.Push(w.source.Registry, repo, tag); err != nil {
		t.Fatal(err)
	}
	return image
}

// newImage makes an image that shares layers with others: the first of them are the same for all that have as many.
func (w *randomWorld) newImage() registry.Image {
	w.born++
	seed := w.born
	options := registry.ImageOptions{
		Base: w.layers[:w.random.IntN(len(w.layers)+1)], Layers: w.random.IntN(4) - 1, LayerSize: 100 + w.random.Int64N(500),
		Attestations: w.chance(30), Docker: w.chance(15), Foreign: w.chance(5),
	}
	platforms := [][]string{{"linux/amd64", "linux/arm64"}, {"linux/arm/v7", "linux/amd64"}, {"linux/amd64"}, {"linux/arm64"}}
	at := min(w.random.IntN(20), len(platforms)-1)
	options.Platforms = platforms[(at+2)%len(platforms)] // mostly those with two
	switch w.random.IntN(8) {
	case 0, 1:
		image := registry.SingleArch(seed, options.Platforms[0], options)
		w.single[image.Digest] = options.Platforms[0]
		return image
	case 2:
		w.born++
		return nestedIndex(registry.MultiArch(seed, options), registry.MultiArch(seed+1, registry.ImageOptions{Base: options.Base}))
	}
	return registry.MultiArch(seed, options)
}

// nestedIndex makes an index of another index and of the entries of a third.
func nestedIndex(inner, beside registry.Image) registry.Image {
	var list struct{ Manifests []json.RawMessage }
	if err := json.Unmarshal(beside.Root().Body, &list); err != nil {
		panic(err) // it was encoded a moment ago
	}
	root := inner.Root()
	entry := fmt.Appendf(nil, `{"mediaType":%q,"digest":%q,"size":%d}`, root.MediaType, root.Digest, len(root.Body))
	media := "application/vnd.oci.image.index.v1+json"
	body := encodeIndex(2, media, append([]json.RawMessage{entry}, list.Manifests...))
	digest := registry.Sum(body)
	manifests := slices.Concat(inner.Manifests, beside.Manifests[:len(beside.Manifests)-1])
	return registry.Image{
		Digest: digest, Blobs: slices.Concat(inner.Blobs, beside.Blobs),
		Manifests: append(manifests, registry.Manifest{Digest: digest, MediaType: media, Body: body}),
	}
}

// encodeIndex writes an index as the emulator does.
func encodeIndex(version int, mediaType string, entries []json.RawMessage) []byte {
	body, err := json.Marshal(struct {
		SchemaVersion int               `json:"schemaVersion"`
		MediaType     string            `json:"mediaType"`
		Manifests     []json.RawMessage `json:"manifests"`
	}{version, mediaType, entries})
	if err != nil {
		panic(err) // what was read from JSON can be written
	}
	return body
}

func (w *randomWorld) stateDir() string { return filepath.Join(filepath.Dir(w.config), "state") }
