package registry

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/image"
)

const (
	digestA = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	digestB = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

// pagesOf are answers as registries give them, shortened.
var pagesOf = map[string]string{
	google: `{"child":[],"manifest":{"` + digestA + `":{"imageSizeBytes":"27735631","layerId":"","tag":["v1.4.3","v1"],"timeCreatedMs":"1476600931051","mediaType":"application/vnd.docker.distribution.manifest.v1+prettyjws"},` +
		`"` + digestB + `":{"imageSizeBytes":"31142483","tag":[],"mediaType":"application/vnd.docker.distribution.manifest.v2+json"}},"name":"google-containers/kube-apiserver","tags":["v1","v1.4.3"]}`,
	acr: `{"registry":"acrapi.azurecr-test.io","imageName":"nanoserver","tags":[{"name":"v1.4.3","digest":"` + digestA + `","createdTime":"2018-09-06T06:17:21.0856539Z",` +
		`"changeableAttributes":{"deleteEnabled":true}},{"name":"v1","digest":"` + digestA + `"}]}`,
	gitlab: `[{"name":"v1.4.3","digest":"` + digestA + `","config_digest":"` + digestB + `","media_type":"application/vnd.oci.image.manifest.v1+json","size_bytes":286734237},{"name":"v1","digest":"` + digestA + `"}]`,
	harbor: `[{"digest":"` + digestA + `","type":"IMAGE","references":[{"child_digest":"` + digestB + `"}],"tags":[{"name":"v1.4.3","immutable":false},{"name":"v1"}]},{"digest":"` + digestB + `","tags":null}]`,
	quay: `{"tags":[{"name":"v1.4.3","reversion":false,"start_ts":1713749244,"manifest_digest":"` + digestA + `","is_manifest_list":true,"size":null,"last_modified":"Mon, 22 Apr 2024 01:27:24 -0000"},` +
		`{"name":"v1","manifest_digest":"` + digestA + `"}],"page":1,"has_additional":true}`,
	hub: `{"count":2,"next":"https://registry.hub.docker.com/v2/repositories/library/debian/tags?page=2&page_size=2","previous":null,"results":[{"creator":621950,"images":[{"architecture":"amd64",` +
		`"digest":"` + digestB + `"}],"name":"v1.4.3","media_type":"application/vnd.oci.image.index.v1+json","digest":"` + digestA + `"},{"name":"v1","digest":"` + digestA + `"}]}`,
	zot: `{"data":{"ImageList":{"Results":[{"Tag":"v1.4.3","Digest":"` + digestA + `","LastUpdated":"2022-10-14T15:29:18.0325322Z","Size":"30472739"},{"Tag":"v1","Digest":"` + digestA + `"}]}}}`,
}

// readPage reads a page of a kind.
func readPage(kind, body string) (said map[string]string, more bool, err error) {
	said = map[string]string{}
	_, more, err = listerOf(kind).read(&listing{Reader: strings.NewReader(body)}, func(tag, digest string) { said[tag] = digest })
	return said, more, err
}

func TestListersReadTheirPages(t *testing.T) {
	for _, l := range listers() {
		if l.ask != nil {
			continue
		}
		said, more, err := readPage(l.kind, pagesOf[l.kind])
		if diff := cmp.Diff(map[string]string{"v1": digestA, "v1.4.3": digestA}, said); err != nil || diff != "" || more != (l.kind == quay || l.kind == hub) {
			t.Errorf("%s: %v, more: %t, -want +got\n%s", l.kind, err, more, diff)
		}
		for _, wrong := range []string{"", "<html>", "{}", "[]x", `{"errors":[{"message":"no"}]}`, `{"data":null,"errors":[]}`, "[1]", `"text"`, pagesOf[l.kind][:len(pagesOf[l.kind])/2]} {
			if _, _, err := readPage(l.kind, wrong); err == nil && wrong != "[]x" {
				t.Errorf("%s reads %q", l.kind, wrong)
			}
		}
	}
}

// What Google's list costs is its manifests, most of which may have no tag.
func TestGooglesItemsAreManifests(t *testing.T) {
	const manifests = 300
	var page strings.Builder
	page.WriteString(`{"manifest":{`)
	for n := range manifests {
		fmt.Fprintf(&page, `"sha256:%064x":{"tag":[]},`, n)
	}
	page.WriteString(`"` + digestA + `":{"tag":["v1"]}},"tags":["v1"]}`)
	for _, body := range []string{page.String(), page.String()[:page.Len()-100]} {
		items, _, err := googleLister().read(&listing{Reader: strings.NewReader(body)}, func(string, string) {})
		if items < manifests || (err == nil) != (body == page.String()) {
			t.Errorf("%d items, %v", items, err)
		}
	}
}

func FuzzListers(f *testing.F) {
	for kind, page := range pagesOf {
		f.Add(kind, []byte(page))
	}
	f.Add(zot, []byte(`{"data":{"ImageList":null}}`))
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		l := listerOf(kind)
		if l == nil || l.read == nil {
			return
		}
		held := digests{keep: func(string) bool { return true }, list: inSlice}
		_, _, err := l.read(&listing{Reader: bytes.NewReader(body)}, held.add)
		for tag, digest := range held.sure().All() {
			if digest.Digest().Validate() != nil {
				t.Errorf("%s: %q holds %q (%v)", kind, tag, digest, err)
			}
		}
	})
}

// Tags that a list names several times, with the wanted tags at hand and without.
func TestDigestsSaidTwiceAreUnknown(t *testing.T) {
	for name, held := range map[string]*digests{
		"tags":   {wanted: image.NewTagList([]string{"absent", "none", "same", "two", "upper"}), list: inSlice},
		"filter": {keep: func(tag string) bool { return tag != "unwanted" }, list: inSlice},
	} {
		t.Run(name, func(t *testing.T) {
			for _, said := range [][2]string{{"same", digestA}, {"same", digestA}, {"two", digestA}, {"two", digestB}, {"two", digestA}, {"none", ""}, {"none", digestA}, {"unwanted", digestA}, {"upper", strings.ToUpper(digestA)}} {
				held.add(said[0], said[1])
			}
			sure := held.sure()
			if sure.Len() != 1 || sure.Of("same").Digest() != digestA {
				t.Error(sure.Tags())
			}
		})
	}
}

// What a page says that breaks off counts as not said, and what an earlier page says of another tag stays.
func TestPageThatBreaksOffSaysNothing(t *testing.T) {
	held := digests{wanted: image.NewTagList([]string{"one", "three", "two"}), list: inSlice}
	held.add("one", digestA)
	held.add("two", digestA)
	held.pageRead(nil)
	held.add("two", digestA)
	held.add("three", digestB)
	held.pageRead(io.ErrUnexpectedEOF)
	if got := slices.Collect(held.sure().Tags().All()); !slices.Equal(got, []string{"one"}) {
		t.Error(got)
	}
}

func TestListingIsWorthIt(t *testing.T) {
	for _, tt := range []struct {
		kind          string
		wanted, items int
		want          bool
	}{
		{google, 3, 0, false}, {google, 22, 0, false}, {google, 23, 0, true},
		{google, 3, 10, true}, {google, 2, 10, false}, {google, 100, 10_000, false}, {google, 203, 10_000, true},
		{gitlab, 203, 10_000, false}, {gitlab, 1000, 10_000, true},
		{quay, 40, 0, false}, {quay, 41, 0, true}, {quay, 1000, 1000, true}, {quay, 1000, 100_000, false},
	} {
		if got := listerOf(tt.kind).worth(tt.wanted, tt.items); got != tt.want {
			t.Errorf("%s, %d of %d: %t", tt.kind, tt.wanted, tt.items, got)
		}
	}
}

func TestKindsAreRecognised(t *testing.T) {
	for host, want := range map[string]string{
		"gcr.io": google, "eu.gcr.io": google, "europe-docker.pkg.dev": google, "registry.k8s.io": google, "my.azurecr.io": acr, "my.azurecr.cn": acr, "quay.io": quay, "registry.gitlab.com": gitlab,
		"docker.io": hub, "111122223333.dkr.ecr.eu-west-1.amazonaws.com": ecr, "public.ecr.aws": "", "mirror.gcr.io": "", "notgcr.io": "", "gcr.io.example": "", "ghcr.io": "", "registry.example.com:5000": "",
	} {
		if got := kindOfHost(host); got != want {
			t.Errorf("%s: %q, want %q", host, got, want)
		}
	}
	const host = "registry.example.com"
	for challenge, want := range map[string]string{
		`Bearer realm="https://registry.example.com/service/token",service="harbor-registry",scope="repository:a/b:pull"`: harbor,
		`Bearer realm="https://gitlab.example.com/jwt/auth",service="container_registry"`:                                 gitlab,
		`Bearer realm="https://registry.example.com/v2/auth",service="registry.example.com"`:                              quay,
		`Bearer realm="https://registry.example.com/v2/auth",service="other.example.com"`:                                 "",
		`Bearer realm="https://registry.example.com/token",service="registry.example.com"`:                                "",
		`Bearer realm="https://registry.example.com/oauth2/token",service="registry.example.com"`:                         "",
		`Bearer realm="::",service="harbor-registry"`:                                                                     "",
		`Basic realm="harbor-registry"`: "",
		``:                              "",
	} {
		if got := kindOfAnswer(host, http.Header{"Www-Authenticate": {challenge}}); got != want {
			t.Errorf("%s: %q, want %q", challenge, got, want)
		}
	}
	if got := kindOfAnswer(host, http.Header{"Access-Control-Allow-Headers": {"Authorization,content-type,X-ZOT-API-CLIENT"}}); got != zot {
		t.Errorf("zot: %q", got)
	}
}

// inSlice makes lists of sums in memory.
func inSlice(n int) image.SumList { return make(image.SumSlice, n) }

func TestPositions(t *testing.T) {
	var p positions
	want := []int{0, 1, 63, 64, 65, 127, 128, 1000}
	for _, i := range []int{65, 1000, 0, 64, 63, 127, 128, 1, 65} {
		p.add(i)
	}
	if got := slices.Collect(p.all()); !slices.Equal(got, want) {
		t.Error(got)
	}
	for i := range 2000 {
		if p.has(i) != slices.Contains(want, i) {
			t.Errorf("%d: %t", i, p.has(i))
		}
	}
}
