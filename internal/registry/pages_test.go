package registry

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/wire"
)

var relNext = regexp.MustCompile(`(?i)rel="?(last )?next`)

func TestNextLink(t *testing.T) {
	for value, want := range map[string]string{
		`</v2/app/tags/list?last=b&n=2>; rel="next"`:                       "/v2/app/tags/list?last=b&n=2",
		`</v2/app/tags/list?last=b>;rel=next`:                              "/v2/app/tags/list?last=b",
		`<https://r.example/v2/app/tags/list?next_page=gAAA%3D>; REL=Next`: "https://r.example/v2/app/tags/list?next_page=gAAA%3D",
		`</first>; rel="first", </next?a=1,2>; rel="next"`:                 "/next?a=1,2",
		`</both>; title="a; b, c"; rel="last next"`:                        "/both",
		`</prev>; rel="prev"`:                                              "",
		`</none>`:                                                          "",
		`</v2/app/tags/list?last=b>`:                                       "/v2/app/tags/list?last=b",
		`<?last=b>; title="more"`:                                          "?last=b",
		`</v2/app/tags/list>; rel="self", </docs?a=b>`:                     "",
		`</v2/app/tags/list?last=a>, </v2/app/tags/list?last=b>; rel=next`: "/v2/app/tags/list?last=b",
		``: "",
	} {
		if got, named, err := nextLink([]string{value}, "list"); got != want || err != nil || named != relNext.MatchString(value) {
			t.Errorf("%s is read as %q, %v; want %q", value, got, err, want)
		}
	}
	for _, value := range []string{"/v2/app/tags/list?last=b", `</v2/app; rel="next"`, `"x"; rel="next"`, `<>; rel="next"`, `</first>; rel="first", < >; rel="next"`} {
		if got, _, err := nextLink([]string{value}, "list"); err == nil {
			t.Errorf("%s is read as %q", value, got)
		}
	}
}

func FuzzLink(f *testing.F) {
	f.Add(`</v2/app/tags/list?last=b&n=2>; rel="next"`)
	f.Add(`</a>; title="x", </b>; rel=next`)
	f.Add(`<<>;;rel="`)
	f.Fuzz(func(t *testing.T, value string) {
		got, _, err := nextLink([]string{value}, "list")
		if err != nil && got != "" || got != "" && !strings.Contains(value, got) {
			t.Errorf("%q is read as %q, %v", value, got, err)
		}
	})
}

// listed is a registry whose tag list comes in pages, each with the Link that next makes of its number; an empty one ends the list.
func listed(pages [][]string, next func(page int) string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		page := 0
		_, _ = fmt.Sscanf(r.URL.Query().Get("page"), "%d", &page)
		if link := next(page); link != "" {
			w.Header().Set("Link", link)
		}
		tags := ""
		if len(pages[page]) > 0 {
			tags = `"` + strings.Join(pages[page], `","`) + `"`
		}
		_, _ = fmt.Fprintf(w, `{"name":"app","child":[],"tags":[%s],"manifest":{"sha256:0":{"tag":["9"],"deep":[[{}]]}}}`, tags)
	})
}

// TestFieldsInAnyCase: Docker, skopeo and crane read names of fields in any case, so registries may write them so.
func TestFieldsInAnyCase(t *testing.T) {
	c := client(t, emulator.Network{home: answer(200, nil, `{"Name":"app","Tags":["1","2"]}`)}, Options{})
	if tags, err := c.Tags(t.Context(), at("app"), everything); err != nil || len(tags) != 2 {
		t.Errorf("Tags = %v, %v", tags, err)
	}
}

// TestEndsOfLists come from the list, whatever its order and its tokens.
func TestEndsOfLists(t *testing.T) {
	pages := [][]string{{"b", "a-1"}, {"a/2", "z"}, {"a", "b"}, {}}
	link := func(page int) string {
		return fmt.Sprintf(`</v2/app/tags/list?page=%d&opaque=%%2B%%3D>; rel="next"`, page)
	}
	for name, test := range map[string]struct {
		next func(page int) string
		want []string
		says string
	}{
		"to the end": {func(page int) string {
			if page == 2 {
				return ""
			}
			return link(page + 1)
		}, []string{"a", "a-1", "a/2", "b", "z"}, ""},
		"nothing that leads to itself": {func(page int) string { return link(min(page+1, 3)) }, []string{"a", "a-1", "a/2", "b", "z"}, ""},
		"a circle":                     {func(page int) string { return link((page + 1) % 2) }, nil, "returns to an earlier page"},
		"itself":                       {func(int) string { return link(1) }, nil, "returns to an earlier page"},
		"what cannot be read":          {func(int) string { return "/v2/app/tags/list?page=1" }, nil, "cannot be read"},
		"what is no URL":               {func(int) string { return `</%zz?secret=S3CRET>; rel="next"` }, nil, "not a URL"},
		"another host":                 {func(int) string { return `<https://` + other + `/v2/app/tags/list?page=1>; rel="next"` }, nil, "another host"},
		"another scheme":               {func(int) string { return `<ftp://` + home + `/x>; rel="next"` }, nil, "not allowed"},
		"a link to the prefix":         {func(int) string { return `</v2/app/tags/list?page=0>; rel="prev"` }, []string{"a-1", "b"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			gate := emulator.NewGate(listed(pages, test.next))
			c := client(t, emulator.Network{home: gate}, Options{})
			got, err := c.Tags(t.Context(), at("app"), everything)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			if (err != nil) != (test.says != "") || err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("error = %v, want %q", err, test.says)
			}
			if err != nil {
				lacks(t, err.Error(), "S3CRET")
			}
			if n := len(gate.Requests()); n > 4 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// TestListsWithoutProgress: a list whose pages have new URLs without end, and nothing new, ends soon; a few pages that are empty or repeated do not
// end it.
func TestListsWithoutProgress(t *testing.T) {
	for name, test := range map[string]struct {
		page  func(n int) []string // nil at the end
		want  int                  // names
		asked int
	}{
		"the same page":            {func(int) []string { return []string{"team/a", "team/b"} }, -1, maxSame + 1},
		"empty pages":              {func(int) []string { return []string{} }, -1, maxEmpty + 1},
		"two pages in turn":        {func(n int) []string { return []string{fmt.Sprint("team/", n%2)} }, -1, 2*maxSame + 1},
		"some are empty":           {func(n int) []string { return [][]string{{"team/a"}, {}, {}, {}, {"team/b"}, nil}[n] }, 2, 5},
		"one is repeated":          {func(n int) []string { return [][]string{{"team/a"}, {"team/a"}, {"team/b"}, nil}[n] }, 2, 3},
		"each has one that is new": {func(n int) []string { return [][]string{{fmt.Sprint("team/", n), "team/x"}, nil}[n/200] }, 201, 200},
	} {
		t.Run(name, func(t *testing.T) {
			gate := emulator.NewGate(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				n := 0
				_, _ = fmt.Sscanf(r.URL.Query().Get("token"), "%d", &n)
				if test.page(n+1) != nil {
					w.Header().Set("Link", fmt.Sprintf(`<%s?token=%d>; rel="next"`, r.URL.Path, n+1))
				}
				switch {
				case strings.Contains(r.URL.Path, "/referrers/"):
					var all []string
					for _, item := range test.page(n) {
						all = append(all, fmt.Sprintf(`{"digest":%q,"size":1}`, image.DigestOf([]byte(item), "")))
					}
					w.Header().Set("Content-Type", image.MediaTypeOCIIndex)
					_, _ = fmt.Fprintf(w, `{"manifests":[%s]}`, strings.Join(all, ","))
				default:
					names, err := json.Marshal(test.page(n))
					if err != nil {
						t.Error(err)
					}
					_, _ = fmt.Fprintf(w, `{"tags":%s,"repositories":%[1]s}`, names)
				}
			}))
			c := client(t, emulator.Network{home: gate}, Options{})
			for what, ask := range map[string]func() (int, error){
				"tags":    func() (int, error) { all, err := c.Tags(t.Context(), at("app"), everything); return len(all), err },
				"catalog": func() (int, error) { all, err := c.Catalog(t.Context(), at("team"), everything); return len(all), err },
				"referrers": func() (int, error) {
					all, err := c.Referrers(t.Context(), at("app"), image.DigestOf(nil, ""))
					digests := map[image.Digest]bool{}
					for _, r := range all {
						digests[r.Digest] = true
					}
					return len(digests), err
				},
			} {
				gate.Reset()
				n, err := ask()
				if test.want >= 0 && (n != test.want || err != nil) || test.want < 0 && (err == nil || !strings.Contains(err.Error(), "returns to an earlier page")) {
					t.Errorf("%s: %d names, error %v", what, n, err)
				}
				if got := len(gate.Requests()); got != test.asked {
					t.Errorf("%s: %d requests, want %d", what, got, test.asked)
				}
			}
		})
	}
}

// TestEmptyAnswer: an answer without a body is no list that broke off, and is not asked for again.
func TestEmptyAnswer(t *testing.T) {
	for _, status := range []int{200, 204} {
		gate := emulator.NewGate(answer(status, nil, ""))
		_, err := client(t, emulator.Network{home: gate}, Options{}).Tags(t.Context(), at("app"), everything)
		contains(t, fmt.Sprint(err), "GET tag list", "its answer is empty")
		if n := len(gate.Requests()); n != 1 {
			t.Errorf("%d: %d requests", status, n)
		}
	}
}

// TestLinkWithoutThePrefix: Artifactory leaves a part of the path out.
func TestLinkWithoutThePrefix(t *testing.T) {
	pages := listed([][]string{{"a"}, {"b"}}, func(page int) string {
		if page == 1 {
			return ""
		}
		return `</v2/app/tags/list?page=1>; rel="next"`
	})
	c := client(t, emulator.Network{home: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/v2/virtual/app/") {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		pages.ServeHTTP(w, r)
	})}, Options{})
	if got, err := c.Tags(t.Context(), at("virtual/app"), everything); err != nil || !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("%v, %v", got, err)
	}
}

// TestLinkToAnotherRepository: the next page is one of the same list.
func TestLinkToAnotherRepository(t *testing.T) {
	for _, link := range []string{"/v2/other/tags/list?page=1", "/v2/tags/list?page=1", "../../other/tags/list?page=1", "?page=1"} {
		pages := func(names ...string) http.Handler {
			return listed([][]string{names[:1], names[1:]}, func(page int) string {
				if page == 1 {
					return ""
				}
				return "<" + link + `>; rel="next"`
			})
		}
		mux := http.NewServeMux()
		mux.Handle("/v2/app/tags/list", pages("a", "b"))
		mux.Handle("/v2/other/tags/list", pages("c", "d"))
		c := client(t, emulator.Network{home: mux}, Options{})
		if got, err := c.Tags(t.Context(), at("app"), everything); err != nil || !slices.Equal(got, []string{"a", "b"}) {
			t.Errorf("%s: %v, %v", link, got, err)
		}
	}
}

// TestLinkAfterARedirect: registry.k8s.io leads to another host and path, where the pages go on.
func TestLinkAfterARedirect(t *testing.T) {
	pages := listed([][]string{{"a"}, {"b"}}, func(page int) string {
		if page == 1 {
			return ""
		}
		return `<list?page=1>; rel="next"`
	})
	mux := http.NewServeMux()
	mux.Handle("/v2/project/images/app/tags/list", pages)
	led := http.RedirectHandler("https://"+other+"/v2/project/images/app/tags/list", http.StatusTemporaryRedirect)
	c := client(t, emulator.Network{home: led, other: mux}, Options{})
	if got, err := c.Tags(t.Context(), at("app"), everything); err != nil || !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("%v, %v", got, err)
	}
}

// million is a tag list of so many tags, made as it is read.
func million(n int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		out := bufio.NewWriterSize(w, 64<<10)
		_, _ = out.WriteString(`{"name":"app","tags":[`)
		line := []byte(nil)
		for i := range n {
			line = fmt.Appendf(line[:0], `"build-%d-%08x",`, i, i*2654435761%(1<<32))
			if i == n-1 {
				line = append(line[:len(line)-1], "]}"...)
			}
			if _, err := out.Write(line); err != nil {
				return
			}
		}
		_ = out.Flush() // to a pipe
	})
}

// TestListsTakeNoMemory: of five million tags those that are chosen are kept, and no more.
func TestListsTakeNoMemory(t *testing.T) {
	fulltest.Long(t)
	tags := 5_000_000
	if raceDetector || !fulltest.Enabled() {
		tags = 500_000
	}
	c := client(t, emulator.Network{home: million(tags)}, Options{})
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	peak := uint64(0)
	seen := 0
	got, err := c.Tags(t.Context(), at("app"), func(tag string) bool {
		if seen++; seen%200_000 == 0 {
			runtime.GC()
			runtime.ReadMemStats(&after)
			peak = max(peak, after.HeapAlloc-min(before.HeapAlloc, after.HeapAlloc))
		}
		return strings.HasSuffix(tag, "00000")
	})
	if err != nil || seen != tags || len(got) == 0 {
		t.Fatalf("%d of %d tags, %d kept, %v", seen, tags, len(got), err)
	}
	t.Logf("%d tags, %d kept, %d KiB at the most", seen, len(got), peak>>10)
	if peak > 16<<20 {
		t.Errorf("%d MiB for a list of which %d tags are kept", peak>>20, len(got))
	}
}

// TestListsAreBounded as a whole, and not by the page.
func TestListsAreBounded(t *testing.T) {
	fulltest.Long(t)
	page := make([]string, 10_000)
	for i := range page {
		page[i] = fmt.Sprintf("%d-%s", i, strings.Repeat("b", 100))
	}
	gate := emulator.NewGate(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := 0
		_, _ = fmt.Sscanf(r.URL.Query().Get("last"), "%d", &n)
		w.Header().Set("Link", fmt.Sprintf(`<%s?last=%d>; rel="next"`, r.URL.Path, n+1))
		field := map[bool]string{true: "repositories", false: "tags"}[strings.HasSuffix(r.URL.Path, "_catalog")]
		_, _ = fmt.Fprintf(w, `{"%s":["team/%s%d"]}`, field, strings.Join(page, `","team/`), n)
	}))
	c := client(t, emulator.Network{home: gate}, Options{})
	for name, ask := range map[string]func() error{
		"tags":    func() error { _, err := c.Tags(t.Context(), at("app"), everything); return err },
		"catalog": func() error { _, err := c.Catalog(t.Context(), at("team"), everything); return err },
	} {
		gate.Reset()
		if err := ask(); !errors.Is(err, wire.ErrTooLong) || failure(t, err).Temporary() {
			t.Errorf("%s: %v", name, err)
		}
		if n := len(gate.Requests()); n > maxKept/(len(page)*100)+2 {
			t.Errorf("%s: %d pages", name, n)
		}
	}
}

// TestPageThatBreaksOff: what was read of it does not count twice.
func TestPageThatBreaksOff(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r, c := stand(t, emulator.Options{PageSize: 3}, Options{})
		i := push(t, r, "app", "t0")
		for n := range 9 {
			if err := r.PutTag("app", fmt.Sprintf("t%d", n+1), i.Digest); err != nil {
				t.Fatal(err)
			}
		}
		r.Inject(emulator.Fault{Match: requests("GET", emulator.KindTags), Times: 3, CutAt: 30})
		if tags, err := c.Tags(t.Context(), at("app"), everything); err != nil || len(tags) != 10 {
			t.Errorf("%v, %v", tags, err)
		}
	})
}

// FuzzLocation: wherever a registry sends an upload, it is a URL with TLS and without a user, or an error that quotes nothing.
func FuzzLocation(f *testing.F) {
	f.Add("/v2/app/blobs/uploads/1?_state=S3CRET")
	f.Add("http://192.0.2.2/up?sig=S3CRET")
	f.Add("//ann:S3CRET@192.0.2.1:80/up")
	f.Add("https://127.0.0.1/up")
	f.Add("https://[::1%25lo]/S3CRET")
	f.Add("/%zz?S3CRET")
	f.Add("http://.2ig=S3CRET")
	c, err := New(Options{})
	if err != nil {
		f.Fatal(err)
	}
	e := c.endpoint(at("app"))
	f.Fuzz(func(t *testing.T, location string) {
		u := &upload{endpoint: e, repo: at("app"), payload: &payload{desc: image.Descriptor{}}}
		resp := &http.Response{Header: http.Header{"Location": {location}}, Request: e.request(t.Context(), http.MethodPost, "app/blobs/uploads/", nil, nil)}
		err := u.move(postUpload, resp)
		if err != nil {
			shown := err.Error()
			if next, wrong := url.Parse(location); wrong == nil && wire.ShownHost(next.Host) == next.Host {
				shown = strings.ReplaceAll(shown, next.Host, "") // the name of a host is told
			}
			if strings.Contains(shown, "S3CRET") {
				t.Errorf("%q: %v", location, err)
			}
			return
		}
		if u.session != nil && (u.session.Scheme != "https" || u.session.User != nil || wire.Loopback(u.session.Host)) {
			t.Errorf("%q leads to %s", location, u.session)
		}
	})
}

// TestPagesWithLongNames: what is remembered of the pages of a list is as short as the list is long, however long its Links are.
func TestPagesWithLongNames(t *testing.T) {
	inUse := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	const pages, length = 40, 1 << 20
	before, page := inUse(), 0
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if page++; page < pages {
			w.Header().Set("Link", fmt.Sprintf(`</v2/app/tags/list?last=%d%s>; rel="next"`, page, strings.Repeat("x", length)))
		} else if more := int64(inUse()) - int64(before); more > pages*length/2 {
			t.Errorf("%d bytes are in use for %d pages", more, page)
		}
		_, _ = fmt.Fprintf(w, `{"name":"app","tags":["%d"]}`, page)
	})
	c := client(t, emulator.Network{home: h}, Options{})
	if tags, err := c.Tags(t.Context(), at("app"), everything); err != nil || len(tags) != pages {
		t.Errorf("%d tags, %v", len(tags), err)
	}
}
