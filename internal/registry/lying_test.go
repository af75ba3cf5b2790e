package registry

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/auth"
	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/image"
)

// TestAnswersThatAreNoSuccess: what leads nowhere, and what says something else, has not done what was asked for.
func TestAnswersThatAreNoSuccess(t *testing.T) {
	raw := []byte(`{"schemaVersion":2}`)
	for _, status := range []int{300, 302, 304, 307} {
		c := client(t, emulator.Network{home: answer(status, nil, "")}, Options{})
		m := image.Manifest{Raw: raw, Descriptor: image.Descriptor{MediaType: image.MediaTypeOCIManifest}}
		if err := c.PutManifest(t.Context(), at("app").Tag("1"), m); err == nil || failure(t, err).Temporary() {
			t.Errorf("PUT manifest that is answered %d: %v", status, err)
		}
		if has, err := c.HasBlob(t.Context(), at("app"), content(raw)); has || err == nil {
			t.Errorf("HEAD blob that is answered %d: %t, %v", status, has, err)
		}
	}
	for _, body := range []string{`{}`, `{"errors":[{"code":"DENIED"}]}`, `{"repositories":["a"]}`} {
		c := client(t, emulator.Network{home: answer(200, nil, body)}, Options{})
		if tags, err := c.Tags(t.Context(), at("app"), everything); err == nil {
			t.Errorf("%s is a list: %v", body, tags)
		}
	}
	for _, body := range []string{`{"name":"app"}`, `{"name":"app","tags":null}`, `{"tags":[]}`} {
		c := client(t, emulator.Network{home: answer(200, nil, body)}, Options{})
		if tags, err := c.Tags(t.Context(), at("app"), everything); err != nil || len(tags) != 0 {
			t.Errorf("%s: %v, %v", body, tags, err)
		}
	}
	header := http.Header{"Content-Type": {image.MediaTypeOCIIndex}}
	c := client(t, emulator.Network{home: answer(200, header, `{"schemaVersion":2,"manifests":null}`)}, Options{})
	if list, err := c.Referrers(t.Context(), at("app"), content(raw).Digest); err != nil || len(list) != 0 {
		t.Errorf("referrers that are null: %v, %v", list, err)
	}
}

// uploads is a registry that takes uploads in its own way.
type uploads struct {
	posts int
	// put and get answer a PUT or PATCH with so many bytes, and the question how far it has got.
	put, get func(w http.ResponseWriter, q *http.Request, sent int64)
}

// ServeHTTP implements http.Handler.
func (u *uploads) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	sent, _ := io.Copy(io.Discard, q.Body)
	switch q.Method {
	case http.MethodPost:
		u.posts++
		w.Header().Set("Location", fmt.Sprintf("/v2/app/blobs/uploads/%d", u.posts))
		w.WriteHeader(http.StatusAccepted)
	case http.MethodHead:
		w.WriteHeader(http.StatusNotFound)
	case http.MethodGet:
		u.get(w, q, 0)
	case http.MethodDelete:
		w.WriteHeader(http.StatusNoContent)
	default:
		u.put(w, q, sent)
	}
}

// send sends a blob of so many bytes.
func send(t *testing.T, r http.Handler, size int) error {
	t.Helper()
	opened := 0
	data := bytes.Repeat([]byte("x"), size)
	c := client(t, emulator.Network{home: r}, Options{})
	_, err := c.PutBlob(t.Context(), at("app"), content(data), image.Repository{}, source(data, &opened), nil)
	return err
}

func says(status int, name, value string) func(http.ResponseWriter, *http.Request, int64) {
	return func(w http.ResponseWriter, _ *http.Request, _ int64) {
		w.Header().Set(name, value)
		w.WriteHeader(status)
	}
}

// TestLiesAboutAnUpload: numbers beyond all reason end an upload, and not the process; so does a digest of something else.
func TestLiesAboutAnUpload(t *testing.T) {
	const most = "9223372036854775807"
	for name, r := range map[string]*uploads{
		"how far":     {put: says(500, "X", ""), get: says(204, "Range", "0-"+most)},
		"a chunk":     {put: says(202, "Range", "0-"+most), get: says(204, "Range", "0-0")},
		"the digest":  {put: says(201, "Docker-Content-Digest", string(content(nil).Digest)), get: says(404, "X", "")},
		"the session": {put: says(404, "X", ""), get: says(404, "X", "")},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				err := send(t, r, 1000)
				if name == "a chunk" && err == nil {
					return // it says that it has taken the PUT
				}
				if err == nil {
					t.Error("no error")
				}
			})
		})
	}
	h := newUploadProfile(uploading{whole: 1 << 20})
	h.started(http.Header{"Oci-Chunk-Min-Length": {most}})
	if n := h.chunk(10 << 20); n > maxLeast {
		t.Errorf("chunks of %d bytes", n)
	}
}

// TestSessionsThatAreForgotten: an upload begins anew where its session is lost, also where 404 says so, and not without an end.
func TestSessionsThatAreForgotten(t *testing.T) {
	for _, status := range []int{404, 500} {
		for _, after := range []int{6, 1 << 30} {
			inBubble(t, func(t *testing.T) {
				r := &uploads{get: says(404, "X", "")}
				r.put = func(w http.ResponseWriter, q *http.Request, sent int64) {
					switch first := strings.HasPrefix(q.Header.Get("Content-Range"), "0-"); {
					case sent > 2<<20:
						w.WriteHeader(http.StatusRequestEntityTooLarge)
					case q.Method == http.MethodPut:
						w.Header().Set("Docker-Content-Digest", q.URL.Query().Get("digest"))
						w.WriteHeader(http.StatusCreated)
					case !first && r.posts < after:
						w.WriteHeader(status)
					default:
						w.WriteHeader(http.StatusAccepted)
					}
				}
				err := send(t, r, 10<<20)
				if after == 6 && (err != nil || r.posts != 6) || after > 6 && (err == nil || r.posts != maxSessions) {
					t.Errorf("%d until session %d: %v after %d", status, after, err, r.posts)
				}
			})
		}
	}
}

// elsewhere spells a registry's host otherwise in Locations.
type elsewhere struct {
	http.ResponseWriter
	host string
}

// WriteHeader implements http.ResponseWriter.
func (e elsewhere) WriteHeader(status int) {
	if location := e.Header().Get("Location"); location != "" {
		e.Header().Set("Location", e.host+location[strings.Index(location, "/v2/"):])
	}
	e.ResponseWriter.WriteHeader(status)
}

// TestHostSpelledOtherwise: a Location at the registry itself is signed, however it is written.
func TestHostSpelledOtherwise(t *testing.T) {
	const name = "registry.example"
	data := bytes.Repeat([]byte("x"), 1000)
	for _, spelling := range []string{"https://registry.example:443", "https://Registry.EXAMPLE", "https://registry.example.", "http://registry.example:443", "https://registry.example:0443"} {
		r := emulator.New(emulator.Options{Auth: &emulator.Auth{Users: map[string]string{"ann": "secret"}}})
		h := http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { r.ServeHTTP(elsewhere{w, spelling}, q) })
		c := client(t, emulator.Network{name: h}, Options{Keychain: signed(name, "ann", "secret")})
		opened := 0
		_, err := c.PutBlob(t.Context(), image.Repository{Registry: name, Path: "app"}, content(data), image.Repository{}, source(data, &opened), nil)
		if err != nil {
			t.Errorf("%s: %v", spelling, err)
		}
	}
}

// bomb is an answer with a content coding that comes to nothing and does not end.
func bomb(coding string, nothing []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", coding)
		member := bytes.Repeat(nothing, 1000)
		for {
			if _, err := w.Write(member); err != nil {
				return
			}
		}
	}
}

// TestAnswersWithoutEnd: what is compressed to nothing, and what is nested without an end, is given up.
func TestAnswersWithoutEnd(t *testing.T) {
	fulltest.Long(t)
	for coding, nothing := range map[string][]byte{
		"gzip":    emulator.Gzip.Encode(nil),
		"deflate": {0, 0, 0, 0xff, 0xff}, // a stored block without bytes (RFC 1951, 3.2.4)
	} {
		c := client(t, emulator.Network{home: bomb(coding, nothing)}, Options{})
		if coding == "gzip" { // it reads 256 MiB, in the same way for both
			if _, err := c.Tags(t.Context(), at("app"), everything); err == nil {
				t.Errorf("%s: a list of nothing", coding)
			}
		}
		if _, err := c.Manifest(t.Context(), at("app").Tag("1")); err == nil {
			t.Errorf("%s: a manifest of nothing", coding)
		}
		body, err := c.OpenBlob(t.Context(), at("app"), content([]byte("x")), 0, nil)
		if err == nil {
			_, err = io.Copy(io.Discard, body)
			_ = body.Close()
		}
		if err == nil {
			t.Errorf("%s: a blob of nothing", coding)
		}
	}
	c := client(t, emulator.Network{home: answer(200, nil, `{"x":`+strings.Repeat("[", 1<<20))}, Options{})
	if _, err := c.Tags(t.Context(), at("app"), everything); err == nil || !strings.Contains(err.Error(), "the answer is too long") {
		t.Errorf("a list that is nested: %v", err)
	}
}

// TestSmallBlobGivesItsSlotBack: a blob that has been read holds no slot at its source while it waits for one at its target.
func TestSmallBlobGivesItsSlotBack(t *testing.T) {
	data := []byte("small")
	body := &closing{Reader: bytes.NewReader(data)}
	p := &payload{desc: content(data), open: func(int64) (io.ReadCloser, error) { return body, nil }}
	if !p.load() || !body.closed {
		t.Errorf("closed: %t", body.closed)
	}
	if got, err := io.ReadAll(p.part(0, int64(len(data)))); err != nil || string(got) != string(data) {
		t.Errorf("%q, %v", got, err)
	}
}

type closing struct {
	io.Reader
	closed bool
}

// Close implements io.Closer.
func (c *closing) Close() error {
	c.closed = true
	return nil
}

// TestPartialAnswer: a registry may answer with less than the rest (RFC 9110, 15.3.7), and is asked for what follows.
func TestPartialAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		data := bytes.Repeat([]byte("0123456789"), 30)
		h := http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			start := 0
			_, _ = fmt.Sscanf(q.Header.Get("Range"), "bytes=%d-", &start)
			end := min(start+100, len(data))
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", start, end-1, len(data)))
			w.Header().Set("Content-Length", fmt.Sprint(end-start))
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(data[start:end])
		})
		c := client(t, emulator.Network{home: h}, Options{Keychain: as(auth.Credential{})})
		body, err := c.OpenBlob(t.Context(), at("app"), content(data), 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(body); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		_ = body.Close()
	})
}

// TestCodingOfABlob: a blob arrives as it is, whether it was compressed on its way, or is compressed and its store says so of it.
func TestCodingOfABlob(t *testing.T) {
	const layerType, configType, tarType = "application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar"
	zip, deflate, bare := emulator.Gzip.Encode, emulator.Deflate.Encode, emulator.BareDeflate.Encode
	config, layer := []byte(`{"architecture":"amd64"}`), zip(bytes.Repeat([]byte("a layer"), 5000))
	tar := bytes.Repeat([]byte("./etc/hostname\x00\x00\x00\x00"), 2000)
	for name, tt := range map[string]struct {
		coding     string
		blob, sent []byte
		mediaType  string
	}{
		"a layer as it is stored":    {"gzip", layer, layer, layerType},
		"a layer, compressed again":  {"gzip", layer, zip(layer), layerType},
		"a config, compressed":       {"gzip", config, zip(config), configType},
		"a config, not compressed":   {"gzip", config, config, configType},
		"a layer, deflated":          {"deflate", layer, deflate(layer), layerType},
		"a layer, deflated bare":     {"Deflate", layer, bare(layer), layerType},
		"a layer, not deflated":      {"deflate", layer, layer, layerType},
		"a config, deflated":         {"deflate", config, deflate(config), configType},
		"a config, deflated bare":    {"deflate", config, bare(config), configType},
		"a config, not deflated":     {"deflate", config, config, configType},
		"an empty config, bare":      {"deflate", []byte("{}"), bare([]byte("{}")), configType},
		"an empty config, as it is":  {"deflate", []byte("{}"), []byte("{}"), configType},
		"a plain layer, bare":        {"deflate", tar, bare(tar), tarType},
		"a plain layer, as it is":    {"deflate", tar, tar, tarType},
		"one byte, which is nothing": {"deflate", []byte("x"), []byte("x"), tarType},
	} {
		for _, length := range []bool{true, false} {
			h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Encoding", tt.coding)
				if length {
					w.Header().Set("Content-Length", fmt.Sprint(len(tt.sent)))
				}
				_, _ = w.Write(tt.sent)
			})
			c := client(t, emulator.Network{home: h}, Options{})
			d := content(tt.blob)
			d.MediaType = tt.mediaType
			body, err := c.OpenBlob(t.Context(), at("app"), d, 0, nil)
			if err != nil {
				t.Errorf("%s, length %t: %v", name, length, err)
				continue
			}
			if got, err := io.ReadAll(body); err != nil || !bytes.Equal(got, tt.blob) {
				t.Errorf("%s, length %t: %d bytes of %d, %v", name, length, len(got), len(tt.blob), err)
			}
			_ = body.Close()
		}
	}
}

// TestCreatedWithoutBeingAsked: 201 to a POST that asked for no mount and brought no bytes is no blob.
func TestCreatedWithoutBeingAsked(t *testing.T) {
	for _, size := range []int{1000, 1 << 20} { // with the POST, and with a PUT
		for _, location := range []string{"", "/v2/app/blobs/uploads/1"} {
			inBubble(t, func(t *testing.T) {
				put := int64(0)
				h := http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
					switch {
					case q.Method == http.MethodPut:
						put, _ = io.Copy(io.Discard, q.Body)
						w.WriteHeader(http.StatusCreated)
					case q.Method == http.MethodPost && q.URL.RawQuery == "":
						if location != "" {
							w.Header().Set("Location", location)
						}
						w.WriteHeader(http.StatusCreated)
					default:
						w.WriteHeader(http.StatusBadRequest)
					}
				})
				err := send(t, h, size)
				if location == "" && err == nil || location != "" && (err != nil || put != int64(size)) {
					t.Errorf("%d bytes, Location %q: %v after %d bytes", size, location, err, put)
				}
			})
		}
	}
}

// A registry that rewrites manifests, such as one that converts their media type, says another digest than that of what it was sent.
func TestManifestTakenAsAnother(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r, c := stand(t, emulator.Options{}, Options{})
		push(t, r, "app", "1")
		m, err := c.Manifest(t.Context(), at("app").Tag("1"))
		if err != nil {
			t.Fatal(err)
		}
		other := emulator.Sum([]byte("another manifest"))
		r.Inject(emulator.Fault{Match: emulator.MatchKind("PUT", emulator.KindManifest), Header: http.Header{"Docker-Content-Digest": {other}}})
		err = c.PutManifest(t.Context(), at("app").Tag("2"), m)
		if !errors.Is(err, image.ErrCorrupt) {
			t.Fatalf("PutManifest: %v", err)
		}
		contains(t, err.Error(), "says that it has stored "+other)
	})
}

// A registry that answers the PUT of a tag without a digest is asked for the tag: something on the way may have answered in its place.
func TestManifestProved(t *testing.T) {
	taken := emulator.MatchKind("PUT", emulator.KindManifest)
	look := func(r *http.Request) bool {
		return emulator.MatchKind("HEAD", emulator.KindManifest)(r) || emulator.MatchKind("GET", emulator.KindManifest)(r)
	}
	named := http.Header{"Docker-Content-Digest": {emulator.MultiArch(1, emulator.ImageOptions{}).Digest}}
	for name, tt := range map[string]struct {
		options emulator.Options
		faults  []emulator.Fault
		says    string // what the error has; empty for success
		looks   int
	}{
		"names the digest":        {looks: 1}, // the first one there
		"does not name it":        {options: emulator.Options{QuietPuts: true}, looks: 1},
		"may not be read":         {faults: []emulator.Fault{{Match: emulator.MatchKind("HEAD", emulator.KindManifest), Status: 403}}, looks: 1},
		"neither":                 {options: emulator.Options{QuietPuts: true}, faults: []emulator.Fault{{Match: emulator.MatchKind("HEAD", emulator.KindManifest), Status: 403}}, says: "let the account read", looks: 1},
		"neither, by GET too":     {options: emulator.Options{QuietPuts: true}, faults: []emulator.Fault{{Match: look, Status: 451}}, says: "answered 451", looks: 2},
		"HEAD fails":              {options: emulator.Options{QuietPuts: true}, faults: []emulator.Fault{{Match: emulator.MatchKind("HEAD", emulator.KindManifest), Status: 500}}, says: "answered 500", looks: 5},
		"names it, takes nothing": {faults: []emulator.Fault{{Match: taken, Status: 201, Header: named}}, says: "does not have it", looks: 3},
		"takes nothing":           {faults: []emulator.Fault{{Match: taken, Status: 201}}, says: "does not have it", looks: 3},
		"HEAD says no at first":   {options: emulator.Options{QuietPuts: true}, faults: []emulator.Fault{{Match: emulator.MatchKind("HEAD", emulator.KindManifest), Status: 404, Times: 1}}, looks: 2},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r, c := stand(t, tt.options, Options{})
				push(t, r, "app", "1")
				m, err := c.Manifest(t.Context(), at("app").Tag("1"))
				if err != nil {
					t.Fatal(err)
				}
				before := len(r.Requests())
				for _, f := range tt.faults {
					r.Inject(f)
				}
				err = c.PutManifest(t.Context(), at("app").Tag("2"), m)
				if tt.says == "" && err != nil || tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)) {
					t.Errorf("PutManifest: %v", err)
				}
				if n := len(r.Requests()) - before - 1; n != tt.looks {
					t.Errorf("%d looks: %v", n, lines(r.Gate))
				}
				if strings.Contains(tt.says, "does not have it") {
					contains(t, fmt.Sprint(c.PutManifest(t.Context(), at("base").Digest(m.Digest), m)), tt.says) // as a child is
				}
				if tt.says != "" || tt.faults != nil {
					return
				}
				before = len(r.Requests())
				if err := c.PutManifest(t.Context(), at("app").Tag("3"), m); err != nil {
					t.Error(err)
				}
				want := 0
				if tt.options.QuietPuts {
					want = 1
				}
				if n := len(r.Requests()) - before - 1; n != want {
					t.Errorf("%d looks at the second: %v", n, lines(r.Gate))
				}
			})
		})
	}
}

// TestManifestsProvedAtOnce: of several first manifests that are pushed at once, one is looked for.
func TestManifestsProvedAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r, c := stand(t, emulator.Options{LaxManifests: true}, Options{})
		r.Inject(emulator.Fault{Match: emulator.MatchKind("HEAD", emulator.KindManifest), Delay: time.Second})
		var group sync.WaitGroup
		for i := range 8 {
			group.Go(func() {
				const index = "application/vnd.oci.image.index.v1+json"
				raw := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"%s","manifests":[],"annotations":{"i":"%d"}}`, index, i)
				d := image.Digest(emulator.Sum(raw))
				if err := c.PutManifest(t.Context(), at("app").Digest(d), image.Manifest{Descriptor: image.Descriptor{MediaType: index, Digest: d, Size: int64(len(raw))}, Raw: raw}); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if n := r.Count(func(q emulator.Request) bool { return q.Method == http.MethodHead }); n != 1 {
			t.Errorf("%d HEADs", n)
		}
	})
}

// TestBlobProved: an answer to a PUT that names neither the blob nor its Location, such as a proxy's, is no proof that the registry has the blob.
func TestBlobProved(t *testing.T) {
	data := []byte("layer")
	for name, tt := range map[string]struct {
		fault emulator.Fault
		says  string
	}{
		"a page":       {emulator.Fault{Status: 200, Body: "<html>sign in</html>"}, "does not have it"},
		"201 alone":    {emulator.Fault{Status: 201}, "does not have it"},
		"202 alone":    {emulator.Fault{Status: 202}, "does not have it"},
		"another blob": {emulator.Fault{Status: 201, Header: http.Header{"Docker-Content-Digest": {emulator.Sum([]byte("x"))}}}, "says that it has stored"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r, c := stand(t, emulator.Options{}, Options{})
				tt.fault.Match = emulator.MatchKind("PUT", emulator.KindUpload)
				r.Inject(tt.fault)
				opened := 0
				_, err := c.PutBlob(t.Context(), at("app"), content(data), image.Repository{}, source(data, &opened), nil)
				contains(t, fmt.Sprint(err), tt.says)
			})
		})
	}
	t.Run("it is there", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			r, c := stand(t, emulator.Options{}, Options{})
			r.PutBlob("app", data)
			r.Inject(emulator.Fault{Match: emulator.MatchKind("PUT", emulator.KindUpload), Status: 204})
			opened := 0
			if _, err := c.PutBlob(t.Context(), at("app"), content(data), image.Repository{}, source(data, &opened), nil); err != nil {
				t.Error(err)
			}
		})
	})
}

// No name of a catalog leads out of the path below which the target's repositories lie.
func TestCatalogNames(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var log bytes.Buffer
		r, c := stand(t, emulator.Options{}, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
		body := `{"repositories":["team/one","team/..","team/../../other","team//one","team/a b","team/.","team/Upper","team/","team/two"]}`
		r.Inject(emulator.Fault{Match: emulator.MatchKind("GET", emulator.KindCatalog), Status: 200, Body: body})
		got, err := c.Catalog(t.Context(), at("team"), everything)
		if diff := cmp.Diff([]string{"team/one", "team/two"}, got); err != nil || diff != "" {
			t.Errorf("Catalog: %v %s", err, diff)
		}
		contains(t, log.String(), "passing over repositories whose names are not valid")
	})
}
