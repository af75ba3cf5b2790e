package bundle

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/draysync/dray/internal/image"
)

// sealed gives a document the sum of its bytes, as one would who changes it on purpose.
func sealed(raw []byte) []byte {
	if len(raw) < len(sumBefore)+sumLength {
		return raw
	}
	raw = slices.Clone(raw)
	copy(raw[len(sumBefore):], sumOf(raw))
	return raw
}

// small is a bundle of two volumes with three blobs, one of which is split.
func small(t testing.TB) (*Bundle, map[image.Digest][]byte) {
	t.Helper()
	content := map[image.Digest][]byte{}
	add := func(text string) Content {
		d := image.DigestOf([]byte(text), "")
		content[d] = []byte(text)
		return Content{d, int64(len(text))}
	}
	m := add(`{"schemaVersion":2}`)
	b := &Bundle{
		Version: version, ID: "a", Seq: 3, Refs: []Ref{{Repository: "app", Tag: "v1", Digest: m.Digest, MediaType: image.MediaTypeOCIManifest, Size: m.Size, Was: m.Digest}},
		Removed:   []Ref{{Repository: "app", Tag: "v0", Digest: m.Digest}},
		Manifests: []Content{m}, Blobs: []Content{add(strings.Repeat("one", 2000)), add(strings.Repeat("two", 4000)), add("")},
	}
	b.State = b.HeldState()
	must(t, b.divide(20_000, nil))
	if len(b.Volumes) != 2 || b.Volumes[1].Parts[0].number == 0 {
		t.Fatalf("%+v", b.Volumes)
	}
	for i := range b.Volumes {
		raw := volumeOfBytes(t, b, i, content)
		b.Volumes[i].Size, b.Volumes[i].Digest = int64(len(raw)), image.DigestOf(raw, "")
	}
	return b, content
}

func volumeOfBytes(t testing.TB, b *Bundle, i int, content map[image.Digest][]byte) (raw []byte) {
	t.Helper()
	must(t, b.stretches(i, func(s stretch) error {
		raw = append(raw, s.known...)
		if s.part.Digest != "" {
			raw = append(raw, content[s.part.Digest][s.part.Offset:][:s.part.Size]...)
		}
		return nil
	}))
	return raw
}

// TestParse: a document that was changed is refused, also where its sum is right.
func TestParse(t *testing.T) {
	b, _ := small(t)
	good, err := b.encode()
	must(t, err)
	for name, tt := range map[string]struct {
		old, new, says string
	}{
		"a path that leaves the folder": {`"repository":"app"`, `"repository":"../app"`, "path of a layout"},
		"an absolute path":              {`"repository":"app"`, `"repository":"/app"`, "path of a layout"},
		"a path into a layout":          {`"repository":"app"`, `"repository":"app/blobs"`, "path of a layout"},
		"a path into the state":         {`"repository":"app"`, `"repository":".dray-bundle/pool"`, "path of a layout"},
		"a path with a newline":         {`"repository":"app"`, `"repository":"a\n"`, "path of a layout"},
		"a path that is empty inside":   {`"repository":"app"`, `"repository":"a//b"`, "path of a layout"},
		"a tag with a slash":            {`"tag":"v1"`, `"tag":"v/1"`, "not a tag"},
		"what a tag was":                {`"was":"sha256:`, `"was":"\u001b[2J`, "not a digest"},
		"what was removed":              {`"tag":"v0","digest":"sha256:`, `"tag":"v0","digest":"\u001b[2J`, "was removed"},
		"an id with a slash":            {`"id":"a"`, `"id":"../a"`, "names of files"},
		"no number":                     {`"seq":3`, `"seq":0`, "sequence number"},
		"another version":               {`"version":1`, `"version":2`, "version 2"},
		"another volume's name":         {"a-0003-vol-002.tar", "a-0003-vol-001.tar", "volume 2 has the name"},
		"a volume's path":               {"a-0003-vol-002.tar", "../../../etc/passwd", "volume 2 has the name"},
		"a volume of another size":      {`-001.tar","size":`, `-001.tar","size":9`, "parts make"},
		"a blob of another size":        {`"size":12000}`, `"size":999999999999}`, "not all of it"},
		"a large blob":                  {`"size":12000}`, `"size":9223372036854775807}`, "bytes"},
		"a negative size":               {`"size":12000}`, `"size":-12000}`, "bytes"},
		"another state":                 {`"state":"sha256:`, `"state":"sha512:`, "state"},
		"a part elsewhere":              {`"offset":0,"size":6000`, `"offset":1,"size":5999`, "follow"},
		"a part that is too long":       {`"offset":0,"size":6000`, `"offset":0,"size":6001`, "follow"},
		"a long part":                   {`"offset":0,"size":6000`, `"offset":0,"size":9223372036854775807`, "follow"},
		"no parts":                      {`"offset":0,"size":6000`, `"offset":0,"size":0`, "follow"},
		"no volumes":                    {`"volumes":[`, `"volumes":[],"x":[`, "0 volumes"},
		"no blobs":                      {`"blobs":[`, `"blobs":[],"x":[`, "not listed"},
		"not JSON":                      {`"refs":[`, `"refs":`, "invalid"},
	} {
		if !strings.Contains(string(good), tt.old) {
			t.Errorf("%s: the document lacks %s:\n%s", name, tt.old, good)
		}
		changed := []byte(strings.Replace(string(good), tt.old, tt.new, 1))
		if _, err := Parse(changed); err == nil || !strings.Contains(err.Error(), "SHA-256") {
			t.Errorf("%s, with the old sum: %v", name, err)
		}
		if _, err := Parse(sealed(changed)); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %q", name, err, tt.says)
		}
	}
}

// FuzzParse: what Parse accepts is consistent, and is written as it was read.
func FuzzParse(f *testing.F) {
	b, _ := small(f)
	good, err := b.encode()
	must(f, err)
	f.Add(good)
	f.Add([]byte(`{"sha256":"` + strings.Repeat("0", sumLength) + `","version":1}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := Parse(sealed(raw))
		if err != nil {
			return
		}
		for _, r := range b.Refs {
			if p := filepath.Join("/into", r.Repository); p != "/into" && !strings.HasPrefix(p, "/into/") {
				t.Errorf("%q leaves the folder", r.Repository)
			}
		}
		sizes, parts := b.sizes(), map[image.Digest]int64{}
		for i, v := range b.Volumes {
			if v.Name != filepath.Base(v.Name) {
				t.Errorf("%q is a path", v.Name)
			}
			for _, p := range v.Parts {
				parts[p.Digest] += p.Size
			}
			if size, err := b.volumeSize(i); err != nil || size != v.Size {
				t.Errorf("%s has %d bytes, %d are listed, %v", v.Name, size, v.Size, err)
			}
		}
		if !maps.Equal(sizes, parts) {
			t.Error("parts do not make up what is listed")
		}
		again, err := b.encode()
		if err != nil || !json.Valid(again) {
			t.Errorf("it cannot be written again: %v", err)
		}
	})
}

// taker is a sink that remembers what was good.
type taker struct {
	checker
	got map[image.Digest][]byte
}

func (k *taker) begin(ctx context.Context, p Part) (io.Writer, []io.Writer, error) {
	w, sums, err := k.checker.begin(ctx, p)
	if w == nil {
		return nil, nil, err
	}
	if p.Offset == 0 {
		k.got[p.Digest] = nil
	}
	return &collector{k, p.Digest}, append(sums, w), err
}

type collector struct {
	*taker
	d image.Digest
}

func (c *collector) Write(b []byte) (int, error) {
	c.got[c.d] = append(c.got[c.d], b...)
	return len(b), nil
}

// FuzzVolume: whatever a volume has in it, a sink gets only what matches its digest without a word, and a volume without a problem is the one that
// is listed.
func FuzzVolume(f *testing.F) {
	b, content := small(f)
	f.Add(volumeOfBytes(f, b, 0, content))
	f.Add(volumeOfBytes(f, b, 1, content))
	f.Add([]byte{})
	right := string(volumeOfBytes(f, b, 0, content))
	f.Fuzz(func(t *testing.T, raw []byte) {
		path := filepath.Join(t.TempDir(), "volume")
		must(t, os.WriteFile(path, raw, 0o600))
		k := &taker{checker{size: b.sizes(), good: map[image.Digest]bool{}, sums: map[image.Digest]*running{}, wrong: map[image.Digest]bool{}}, map[image.Digest][]byte{}}
		s := &set{Bundle: b, files: []string{path, ""}, copies: [][]string{{path}, nil}}
		problems, err := s.scan(t.Context(), 0, make([]byte, chunk), k)
		must(t, err)
		if (len(problems) == 0) != (string(raw) == right) {
			t.Errorf("%d problems", len(problems))
		}
		for d := range k.good {
			if string(k.got[d]) != string(content[d]) {
				t.Errorf("%s is taken to be good", d)
			}
		}
	})
}
