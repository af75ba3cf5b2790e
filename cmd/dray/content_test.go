package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/emulator/registry/registrytest"
	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/image"
)

// contentKind is a kind of registry. None of them takes a manifest by its sha512: they file manifests by sha256 alone, and
// answer 400 DIGEST_INVALID to another digest.
type contentKind struct {
	name   string
	start  func(t *testing.T) string // returns the URL
	api    bool                      // it has the referrers API
	sha512 bool                      // it takes blobs by their sha512
}

func contentKinds() []contentKind {
	process := func(program registry.Program) func(t *testing.T) string {
		return func(t *testing.T) string {
			t.Helper()
			return registrytest.RequireProgram(t, program).URL
		}
	}
	inProcess := func(t *testing.T) string {
		t.Helper()
		return registrytest.Start(t, registry.New(registry.Options{Referrers: true})).URL
	}
	return []contentKind{
		{name: "docker-registry 2.8", start: process(registry.DockerRegistry), sha512: true},
		{name: "distribution v3", start: process(registry.DistributionV3), sha512: true},
		{name: "referrers API", start: inProcess, api: true},
	}
}

// TestContent brings every kind of content from every kind of registry to every other, and has plain HTTP look at all that
// arrived. Then it wants nothing written any more: by a sync with the store, by one that looks for new referrers, and by one
// without the store.
func TestContent(t *testing.T) {
	t.Parallel()
	fulltest.Long(t)
	for _, from := range contentKinds() {
		t.Run("from "+from.name, func(t *testing.T) {
			t.Parallel()
			source := from.start(t)
			cases := contentCases(from)
			for name, c := range cases {
				c.push(contentWriter{t, source, name})
			}
			for _, to := range contentKinds() {
				t.Run("to "+to.name, func(t *testing.T) { bringContent(t, cases, contentSide{from, source}, contentSide{to, to.start(t)}) })
			}
		})
	}
}

// contentSide is a registry that runs.
type contentSide struct {
	contentKind
	url string
}

func bringContent(t *testing.T, cases map[string]contentCase, source, target contentSide) {
	t.Helper()
	proxy, host := proxied(t, target.url, 0)
	config := writeConfig(t)
	configure := func(interval string) {
		var lines []string
		for _, name := range slices.Sorted(maps.Keys(cases)) {
			if cases[name].sha512 && !target.sha512 {
				continue
			}
			lines = append(lines, mapping("name: '%s', source: '%s/%s', target: '%s/%s', tags: %s, referrersInterval: %s",
				name, strings.TrimPrefix(source.url, "http://"), name, host, name, cases[name].tags, interval))
		}
		text := "version: 1\nstateDir: state\nmappings:\n" + strings.Join(lines, "\n") + "\n"
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	configure("24h")
	doc, a := drayJSON(t, "sync", "-c", config)
	if a.code != exitDone {
		t.Errorf("first sync: exit code %d, %+v\n%s", a.code, doc.Totals, a.out)
	}
	for name, c := range cases {
		if c.sha512 && !target.sha512 {
			continue
		}
		look := contentLook{t: t, source: source.in(t, name), target: target.in(t, name), seen: map[string]bool{}}
		look.manifest("v1")
		if diff := cmp.Diff(c.want, look.tally); diff != "" {
			t.Errorf("%s: what lies below v1 at the source (-want +got):\n%s", name, diff)
		}
	}
	for _, again := range []struct {
		name, interval string
		forget         bool
	}{
		{"second sync", "24h", false},
		{"sync that looks for new referrers", "1ms", false},
		{"sync without the store", "24h", true},
	} {
		configure(again.interval)
		if again.forget {
			if err := os.RemoveAll(filepath.Join(filepath.Dir(config), "state")); err != nil {
				t.Fatal(err)
			}
		}
		proxy.Reset()
		doc, a := drayJSON(t, "sync", "-c", config)
		if a.code != exitDone || doc.Totals.Import != 0 || doc.Totals.Keep == 0 {
			t.Errorf("%s: exit code %d, %+v\n%s", again.name, a.code, doc.Totals, a.out)
		}
		for _, r := range proxy.Requests() {
			if r.Method != http.MethodGet && r.Method != http.MethodHead {
				t.Errorf("%s: %s %s at the target", again.name, r.Method, r.Path)
			}
		}
	}
}

// contentTally counts what lies below a tag and what refers to that, each digest once.
type contentTally struct{ Manifests, Blobs, Foreign, Referrers, Cosign int }

// contentCase is one kind of content, in a repository of its own under the tag v1.
type contentCase struct {
	push   func(w contentWriter)
	want   contentTally
	tags   string // which to bring
	sha512 bool   // has blobs by that
}

// contentCases are those that a kind of registry can hold. Names are repositories.
func contentCases(kind contentKind) map[string]contentCase {
	made := func(i registry.Image) func(contentWriter) {
		return func(w contentWriter) { w.image(i, "v1") }
	}
	docker, windows := registry.ImageOptions{Docker: true, Layers: 2}, []string{"windows/amd64", "windows/arm64"}
	var platforms []string
	for n := range 30 {
		platforms = append(platforms, fmt.Sprintf("linux/arch%d", n))
	}
	cases := map[string]contentCase{
		"image":             {push: made(registry.SingleArch(1, "linux/amd64", registry.ImageOptions{Layers: 3})), want: contentTally{Manifests: 1, Blobs: 4}},
		"index":             {push: made(registry.MultiArch(2, registry.ImageOptions{})), want: contentTally{Manifests: 3, Blobs: 4}},
		"docker-image":      {push: made(registry.SingleArch(3, "linux/amd64", docker)), want: contentTally{Manifests: 1, Blobs: 3}},
		"docker-list":       {push: made(registry.MultiArch(4, docker)), want: contentTally{Manifests: 3, Blobs: 6}},
		"attestations":      {push: made(registry.MultiArch(5, registry.ImageOptions{Attestations: true})), want: contentTally{Manifests: 5, Blobs: 8}},
		"sixty":             {push: made(registry.MultiArch(6, registry.ImageOptions{Platforms: platforms, Attestations: true, LayerSize: 16})), want: contentTally{Manifests: 61, Blobs: 120}},
		"windows":           {push: made(registry.MultiArch(7, registry.ImageOptions{Platforms: windows, Foreign: true})), want: contentTally{Manifests: 3, Blobs: 4, Foreign: 1}},
		"windows-docker":    {push: made(registry.MultiArch(8, registry.ImageOptions{Platforms: windows, Foreign: true, Docker: true})), want: contentTally{Manifests: 3, Blobs: 4, Foreign: 1}},
		"nested":            {push: pushNested, want: contentTally{Manifests: 7, Blobs: 10, Referrers: 1, Cosign: 1}},
		"chart":             {push: pushChart, want: contentTally{Manifests: 1, Blobs: 3}},
		"artifact":          {push: pushArtifact, want: contentTally{Manifests: 1, Blobs: 2}},
		"artifact-empty":    {push: pushEmptyArtifact, want: contentTally{Manifests: 1, Blobs: 1}},
		"referrers":         {push: pushReferrers, want: contentTally{Manifests: 12, Blobs: 16, Referrers: 6}},
		"referrers-all":     {push: pushReferrers, want: contentTally{Manifests: 12, Blobs: 16, Referrers: 6}, tags: "['*']"},
		"cosign":            {push: pushCosign, want: contentTally{Manifests: 9, Blobs: 12, Cosign: 5, Referrers: 1}},
		"cosign-all":        {push: pushCosign, want: contentTally{Manifests: 9, Blobs: 12, Cosign: 5, Referrers: 1}, tags: "['*']"},
		"sha512":            {push: pushSHA512, want: contentTally{Manifests: 3, Blobs: 5}, sha512: true},
		"sha512-same-blobs": {push: pushSHA512, want: contentTally{Manifests: 3, Blobs: 5}, sha512: true},
	}
	for name, c := range cases {
		if c.sha512 && !kind.sha512 {
			delete(cases, name)
			continue
		}
		if c.tags == "" {
			c.tags = "[v1]"
			cases[name] = c
		}
	}
	return cases
}

// pushNested pushes an index with an index and an image in it; a manifest of the inner index is signed.
func pushNested(w contentWriter) {
	inner, single := registry.MultiArch(20, registry.ImageOptions{}), registry.SingleArch(21, "linux/s390x", registry.ImageOptions{})
	w.image(inner, "inner")
	w.image(single, "single")
	w.manifest("v1", contentManifest{MediaType: image.MediaTypeOCIIndex, Manifests: []contentDescriptor{describe(inner.Root()), describe(single.Root())}})
	w.attach(describe(inner.Manifests[0]), w.artifact("application/vnd.example.signature", "of a grandchild"))
	w.cosign(inner.Manifests[1].Digest, "sig")
}

// pushChart pushes what Helm does: https://helm.sh/docs/topics/registries/.
func pushChart(w contentWriter) {
	w.manifest("v1", contentManifest{
		MediaType: image.MediaTypeOCIManifest,
		Config:    w.blob("application/vnd.cncf.helm.config.v1+json", `{"name":"chart","version":"1.2.3","apiVersion":"v2"}`),
		Layers: []contentDescriptor{
			*w.blob("application/vnd.cncf.helm.chart.content.v1.tar+gzip", "a chart"),
			*w.blob("application/vnd.cncf.helm.chart.provenance.v1.prov", "its provenance"),
		},
		Annotations: map[string]string{"org.opencontainers.image.title": "chart", "org.opencontainers.image.version": "1.2.3"},
	})
}

func pushArtifact(w contentWriter) {
	w.manifest("v1", w.artifact("application/vnd.example.model", "weights"))
}

// pushEmptyArtifact pushes an artifact without content: OCI image spec, "Guidelines for Artifact Usage".
func pushEmptyArtifact(w contentWriter) {
	empty := w.blob("application/vnd.oci.empty.v1+json", "{}")
	w.manifest("v1", contentManifest{
		MediaType: image.MediaTypeOCIManifest, ArtifactType: "application/vnd.example.note", Config: empty,
		Layers: []contentDescriptor{*empty}, Annotations: map[string]string{"com.example.note": "<all> there is & no more"},
	})
}

// pushReferrers pushes an image to which much refers: to the index and to a child, artifacts, an index, an artifact that has its
// type from its config, and one that refers to another that refers.
func pushReferrers(w contentWriter) {
	i := registry.MultiArch(30, registry.ImageOptions{Attestations: true})
	w.image(i, "v1")
	root := describe(i.Root())
	signature := w.attach(root, w.artifact("application/vnd.example.signature", "of the index"))
	w.attach(root, w.artifact("application/vnd.example.signature", "of the index, by somebody else"))
	w.attach(signature, w.artifact("application/vnd.example.timestamp", "of the signature"))
	w.attach(describe(i.Manifests[0]), w.artifact("application/vnd.example.sbom", "of a child"))
	w.attach(root, contentManifest{
		MediaType: image.MediaTypeOCIManifest, Config: w.blob("application/vnd.example.report+json", `{"by":"config"}`),
		Layers: []contentDescriptor{*w.blob("text/plain", "a report")}, Annotations: map[string]string{"com.example.severity": "low"},
	})
	part := w.manifest("", w.artifact("application/vnd.example.part", "of an index"))
	w.attach(root, contentManifest{
		MediaType: image.MediaTypeOCIIndex, ArtifactType: "application/vnd.example.set",
		Manifests: []contentDescriptor{part}, Annotations: map[string]string{"com.example.parts": "1"},
	})
}

// pushCosign pushes an image with what cosign attaches by tags, also to a child and to what it has attached itself, as
// "cosign sign --attachment sbom" does.
func pushCosign(w contentWriter) {
	i := registry.MultiArch(40, registry.ImageOptions{})
	w.image(i, "v1")
	w.cosign(i.Digest, "sig")
	w.cosign(i.Digest, "att")
	sbom := w.cosign(i.Digest, "sbom")
	w.cosign(sbom.Digest, "sig")
	w.cosign(i.Manifests[1].Digest, "sig")
	w.attach(sbom, w.artifact("application/vnd.example.timestamp", "of the SBOM"))
}

// pushSHA512 pushes an index whose images have config and layers by sha512, one of them shared.
func pushSHA512(w contentWriter) {
	var children []contentDescriptor
	shared := w.blobBy(digest.SHA512, "application/vnd.oci.image.layer.v1.tar+gzip", "a layer below")
	for _, arch := range []string{"amd64", "arm64"} {
		config := w.blobBy(digest.SHA512, "application/vnd.oci.image.config.v1+json", `{"os":"linux","architecture":"`+arch+`"}`)
		layer := w.blobBy(digest.SHA512, "application/vnd.oci.image.layer.v1.tar+gzip", "a layer for "+arch)
		d := w.manifest("", contentManifest{MediaType: image.MediaTypeOCIManifest, Config: config, Layers: []contentDescriptor{*shared, *layer}})
		d.Platform = map[string]string{"os": "linux", "architecture": arch}
		children = append(children, d)
	}
	w.manifest("v1", contentManifest{MediaType: image.MediaTypeOCIIndex, Manifests: children})
}

// contentDescriptor is a descriptor of the OCI image spec.
type contentDescriptor struct {
	MediaType    string            `json:"mediaType"`
	Digest       string            `json:"digest"`
	Size         int               `json:"size"`
	URLs         []string          `json:"urls,omitempty"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Platform     map[string]string `json:"platform,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
}

// contentManifest is a manifest or an index.
type contentManifest struct {
	SchemaVersion int                 `json:"schemaVersion"`
	MediaType     string              `json:"mediaType,omitempty"`
	ArtifactType  string              `json:"artifactType,omitempty"`
	Config        *contentDescriptor  `json:"config,omitempty"`
	Layers        []contentDescriptor `json:"layers,omitempty"`
	Manifests     []contentDescriptor `json:"manifests,omitempty"`
	Subject       *contentDescriptor  `json:"subject,omitempty"`
	Annotations   map[string]string   `json:"annotations,omitempty"`
}

func describe(m registry.Manifest) contentDescriptor {
	return contentDescriptor{MediaType: m.MediaType, Digest: m.Digest, Size: len(m.Body)}
}

// contentWriter pushes into one repository as any client does.
type contentWriter struct {
	t          *testing.T
	url        string // of the registry
	repository string
}

func (w contentWriter) image(i registry.Image, tag string) {
	w.t.Helper()
	if err := i.PushTo(w.t.Context(), nil, w.url, w.repository, tag); err != nil {
		w.t.Fatal(err)
	}
}

func (w contentWriter) blob(mediaType, data string) *contentDescriptor {
	w.t.Helper()
	return w.blobBy(digest.SHA256, mediaType, data)
}

func (w contentWriter) blobBy(algorithm digest.Algorithm, mediaType, data string) *contentDescriptor {
	w.t.Helper()
	d := algorithm.FromString(data).String()
	start := contentRequest(w.t, http.MethodPost, w.url+"/v2/"+w.repository+"/blobs/uploads/", "", nil)
	location, err := start.at.Parse(start.header.Get("Location"))
	if err != nil || start.status != http.StatusAccepted {
		w.t.Fatalf("POST upload: %d %s %v", start.status, start.body, err)
	}
	query := location.Query()
	query.Set("digest", d)
	location.RawQuery = query.Encode()
	if put := contentRequest(w.t, http.MethodPut, location.String(), "application/octet-stream", []byte(data)); put.status != http.StatusCreated {
		w.t.Fatalf("PUT %s: %d %s", d, put.status, put.body)
	}
	return &contentDescriptor{MediaType: mediaType, Digest: d, Size: len(data)}
}

// manifest pushes under a tag, or by digest where there is none.
func (w contentWriter) manifest(tag string, m contentManifest) contentDescriptor {
	w.t.Helper()
	d, _ := w.put(tag, m)
	return d
}

func (w contentWriter) put(tag string, m contentManifest) (contentDescriptor, http.Header) {
	w.t.Helper()
	m.SchemaVersion = 2
	body, err := json.Marshal(m)
	if err != nil {
		w.t.Fatal(err)
	}
	d := contentDescriptor{MediaType: m.MediaType, Digest: digest.FromBytes(body).String(), Size: len(body)}
	if tag == "" {
		tag = d.Digest
	}
	put := contentRequest(w.t, http.MethodPut, w.url+"/v2/"+w.repository+"/manifests/"+tag, m.MediaType, body)
	if put.status != http.StatusCreated {
		w.t.Fatalf("PUT %s: %d %s", tag, put.status, put.body)
	}
	return d, put.header
}

// artifact is one with an empty config and a layer of its own type, still to be pushed.
func (w contentWriter) artifact(artifactType, data string) contentManifest {
	w.t.Helper()
	return contentManifest{
		MediaType: image.MediaTypeOCIManifest, ArtifactType: artifactType, Config: w.blob("application/vnd.oci.empty.v1+json", "{}"),
		Layers: []contentDescriptor{*w.blob(artifactType+"+data", data)}, Annotations: map[string]string{"org.opencontainers.image.created": "2024-01-01T00:00:00Z"},
	}
}

// attach pushes what refers to a subject. Where the registry does not list that by itself the client does: OCI distribution
// spec, "Pushing Manifests with Subject".
func (w contentWriter) attach(subject contentDescriptor, m contentManifest) contentDescriptor {
	w.t.Helper()
	m.Subject = &subject
	d, header := w.put("", m)
	if header.Get("OCI-Subject") == subject.Digest {
		return d
	}
	entry := d
	entry.ArtifactType, entry.Annotations = m.ArtifactType, m.Annotations
	if entry.ArtifactType == "" && m.Config != nil {
		entry.ArtifactType = m.Config.MediaType
	}
	list := contentSide{url: w.url}.in(w.t, w.repository).referrers(w.t, subject.Digest)
	w.manifest(contentTag(subject.Digest), contentManifest{MediaType: image.MediaTypeOCIIndex, Manifests: append(list, entry)})
	return d
}

// cosign attaches by a tag.
func (w contentWriter) cosign(subject, suffix string) contentDescriptor {
	w.t.Helper()
	return w.manifest(contentTag(subject)+"."+suffix, contentManifest{
		MediaType: image.MediaTypeOCIManifest,
		Config:    w.blob("application/vnd.oci.image.config.v1+json", `{"os":"","rootfs":{"type":"layers","diff_ids":[]}}`),
		Layers:    []contentDescriptor{*w.blob("application/vnd.dev.cosign.simplesigning.v1+json", suffix+" of "+subject)},
	})
}

// contentTag is the tag of the list of referrers, and what the tags of cosign begin with.
func contentTag(digest string) string { return strings.Replace(digest, ":", "-", 1) }

// contentRepository is a repository to look at.
type contentRepository struct {
	contentKind
	url  string
	tags []string
}

// in looks at a repository as it is now.
func (s contentSide) in(t *testing.T, repository string) contentRepository {
	t.Helper()
	r := contentRepository{contentKind: s.contentKind, url: s.url + "/v2/" + repository}
	var list struct{ Tags []string }
	if err := json.Unmarshal(contentRequest(t, http.MethodGet, r.url+"/tags/list", "", nil).body, &list); err != nil {
		t.Fatal(err)
	}
	r.tags = list.Tags
	return r
}

// referrers lists what refers to a subject, sorted by digest: OCI distribution spec, "Listing Referrers" and "Unavailable
// Referrers API".
func (r contentRepository) referrers(t *testing.T, subject string) []contentDescriptor {
	t.Helper()
	address := r.url + "/referrers/" + subject
	if !r.api {
		if !slices.Contains(r.tags, contentTag(subject)) {
			return []contentDescriptor{}
		}
		address = r.url + "/manifests/" + contentTag(subject)
	}
	a := contentRequest(t, http.MethodGet, address, "", nil)
	var list contentManifest
	if err := json.Unmarshal(a.body, &list); err != nil || a.status != http.StatusOK || a.header.Get("Content-Type") != image.MediaTypeOCIIndex || list.SchemaVersion != 2 {
		t.Errorf("%s: %v %d %s", address, err, a.status, a.body)
	}
	slices.SortFunc(list.Manifests, func(a, b contentDescriptor) int { return strings.Compare(a.Digest, b.Digest) })
	return list.Manifests
}

// contentLook compares a repository of the source with one of the target.
type contentLook struct {
	t              *testing.T
	source, target contentRepository
	seen           map[string]bool
	tally          contentTally
}

// manifest compares a manifest, all below it and all that refers to it.
func (l *contentLook) manifest(reference string) {
	l.t.Helper()
	at := "/manifests/" + reference
	want, got := contentRequest(l.t, http.MethodGet, l.source.url+at, "", nil), contentRequest(l.t, http.MethodGet, l.target.url+at, "", nil)
	d := digest.FromBytes(want.body).String()
	if want.status != http.StatusOK || got.status != http.StatusOK {
		l.t.Errorf("%s%s: %d at the source, %d at the target", l.target.url, at, want.status, got.status)
		return
	}
	if !bytes.Equal(want.body, got.body) || got.header.Get("Docker-Content-Digest") != d || got.header.Get("Content-Type") != want.header.Get("Content-Type") {
		l.t.Errorf("%s%s: the target has %s %s, the source %s", l.target.url, at, got.header, got.body, want.body)
	}
	if l.seen[d] {
		return
	}
	l.seen[d] = true
	l.tally.Manifests++
	var m contentManifest
	if err := json.Unmarshal(want.body, &m); err != nil {
		l.t.Fatal(err)
	}
	if m.Config != nil {
		l.blob(*m.Config)
	}
	for _, layer := range m.Layers {
		l.blob(layer)
	}
	for _, child := range m.Manifests {
		l.manifest(child.Digest)
	}
	l.attachments(d)
}

// attachments compares what refers to a manifest, and how that is listed.
func (l *contentLook) attachments(subject string) {
	l.t.Helper()
	want := l.source.referrers(l.t, subject)
	if diff := cmp.Diff(want, l.target.referrers(l.t, subject)); diff != "" {
		l.t.Errorf("%s: referrers to %s (-source +target):\n%s", l.target.url, subject, diff)
	}
	for _, r := range want {
		l.tally.Referrers++
		l.manifest(r.Digest)
	}
	for _, suffix := range []string{".sig", ".att", ".sbom"} {
		tag := contentTag(subject) + suffix
		if slices.Contains(l.source.tags, tag) {
			l.tally.Cosign++
			l.manifest(tag)
		}
	}
}

// blob reads a blob at the target; a foreign one must not be there.
func (l *contentLook) blob(d contentDescriptor) {
	l.t.Helper()
	if l.seen[d.Digest] {
		return
	}
	l.seen[d.Digest] = true
	got := contentRequest(l.t, http.MethodGet, l.target.url+"/blobs/"+d.Digest, "", nil)
	if len(d.URLs) > 0 {
		l.tally.Foreign++
		if got.status != http.StatusNotFound {
			l.t.Errorf("%s: the foreign layer %s is at the target: %d", l.target.url, d.Digest, got.status)
		}
		return
	}
	l.tally.Blobs++
	if sum := digest.Digest(d.Digest).Algorithm().FromBytes(got.body).String(); got.status != http.StatusOK || sum != d.Digest {
		l.t.Errorf("%s: blob %s: %d with digest %s", l.target.url, d.Digest, got.status, sum)
	}
}

// contentAnswer is what a registry has said.
type contentAnswer struct {
	status int
	header http.Header
	body   []byte
	at     *url.URL
}

// contentRequest sends a request that accepts every manifest.
func contentRequest(t *testing.T, method, address, mediaType string, body []byte) contentAnswer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, address, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if mediaType != "" {
		r.Header.Set("Content-Type", mediaType)
	}
	r.Header["Accept"] = []string{image.MediaTypeOCIIndex, image.MediaTypeOCIManifest, image.MediaTypeDockerList, image.MediaTypeDockerManifest, "*/*"}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	read, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return contentAnswer{response.StatusCode, response.Header, read, r.URL}
}
