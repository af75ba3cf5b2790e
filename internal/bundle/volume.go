package bundle

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/draysync/dray/internal/image"
)

const (
	// block is the size of a tar archive's blocks, in bytes.
	block = 512
	// trailer is the length of what ends a tar archive: two blocks of zeros.
	trailer = 2 * block
)

// stretch is a piece of a volume: bytes that the document determines, or a part of some content after these.
type stretch struct {
	known []byte
	part  Part // of no digest where the volume ends
}

// header returns the header of an entry of a tar archive: USTAR, or PAX for what USTAR cannot say. It is the same for the same name and size.
func header(name string, size int64) ([]byte, error) {
	var b bytes.Buffer
	err := tar.NewWriter(&b).WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644})
	return b.Bytes(), err
}

// padding is how many zeros follow an entry of a tar archive.
func padding(size int64) int64 { return (block - size%block) % block }

// entryName is the name of a part in a volume.
func (p Part) entryName() string {
	name := "blobs/" + p.Digest.Algorithm().String() + "/" + p.Digest.Encoded()
	if p.number > 0 {
		name += fmt.Sprintf(".part-%04d", p.number)
	}
	return name
}

// head is what the first volume begins with: the files that make the archive an OCI layout.
func (b *Bundle) head() ([]byte, error) {
	index, err := b.index()
	if err != nil {
		return nil, err
	}
	var all []byte
	for _, f := range []struct {
		name    string
		content []byte
	}{{"oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)}, {"index.json", index}} {
		head, err := header(f.name, int64(len(f.content)))
		if err != nil {
			return nil, err
		}
		all = append(append(append(all, head...), f.content...), make([]byte, padding(int64(len(f.content))))...)
	}
	return all, nil
}

// index is the index.json of the layout in the archive. A tag is named alone where all are in one layout, else with the path of its layout.
func (b *Bundle) index() ([]byte, error) {
	type entry struct {
		MediaType   string            `json:"mediaType"`
		Digest      image.Digest      `json:"digest"`
		Size        int64             `json:"size"`
		Annotations map[string]string `json:"annotations"`
	}
	doc := struct {
		SchemaVersion int     `json:"schemaVersion"`
		MediaType     string  `json:"mediaType"`
		Manifests     []entry `json:"manifests"`
	}{2, image.MediaTypeOCIIndex, []entry{}}
	several := len(b.Refs) > 0 && b.Refs[0].Repository != b.Refs[len(b.Refs)-1].Repository // they are sorted
	for _, r := range b.Refs {
		name := r.Tag
		if several {
			name = r.String()
		}
		doc.Manifests = append(doc.Manifests, entry{r.MediaType, r.Digest, r.Size, map[string]string{"org.opencontainers.image.ref.name": name}})
	}
	return json.Marshal(doc)
}

// stretches calls f for the pieces of a volume, in order, until f fails.
func (b *Bundle) stretches(i int, f func(stretch) error) error {
	var known []byte
	if i == 0 {
		head, err := b.head()
		if err != nil {
			return err
		}
		known = head
	}
	for _, p := range b.Volumes[i].Parts {
		head, err := header(p.entryName(), p.Size)
		if err != nil {
			return fmt.Errorf("%s: %w", p.entryName(), err)
		}
		if err := f(stretch{append(known, head...), p}); err != nil {
			return err
		}
		known = make([]byte, padding(p.Size))
	}
	return f(stretch{known: append(known, make([]byte, trailer)...)})
}

// volumeSize is how many bytes a volume's parts make, with all that is around them.
func (b *Bundle) volumeSize(i int) (n int64, err error) {
	err = b.stretches(i, func(s stretch) error {
		n += int64(len(s.known)) + s.part.Size
		return nil
	})
	return n, err
}

// leastPart is the least number of bytes that a blob is split for: what is left of a volume below that stays empty.
const leastPart = 4096

// divide plans the volumes: all manifests, and the blobs that the far side lacks, in their order, in as few volumes of at most limit bytes as that takes;
// 0 is no limit.
func (b *Bundle) divide(limit int64, have map[image.Digest]bool) error {
	b.Volumes = []Volume{{}}
	head, err := b.head()
	if err != nil {
		return err
	}
	d := divider{Bundle: b, limit: limit, used: int64(len(head)) + trailer}
	if limit == 0 {
		d.limit = MaxSize
	}
	if d.used+block > d.limit {
		return fmt.Errorf("a volume of %d bytes is too small: the list of %d tags takes %d", limit, len(b.Refs), d.used)
	}
	for i, c := range b.contents() {
		if i >= len(b.Manifests) && have[c.Digest] {
			continue
		}
		if err := d.add(c); err != nil {
			return err
		}
	}
	for i := range b.Volumes {
		b.Volumes[i].Name = b.volumeName(i)
	}
	return b.number(b.sizes())
}

// divider plans volumes.
type divider struct {
	*Bundle
	// limit is the most bytes of a volume, and used how many the last one has.
	limit, used int64
}

// add puts content into the last volume, and as many more as it takes.
func (d *divider) add(c Content) error {
	for offset := int64(0); ; {
		p := Part{Digest: c.Digest, Offset: offset, Size: c.Size - offset}
		size, err := entrySize(&p, d.limit-d.used)
		if err != nil {
			return err
		}
		if size == 0 { // there is no room
			if len(d.Volumes) == MaxVolumes {
				return fmt.Errorf("it takes more than %d volumes of %d bytes", MaxVolumes, d.limit)
			}
			d.Volumes = append(d.Volumes, Volume{})
			d.used = trailer
			continue
		}
		last := &d.Volumes[len(d.Volumes)-1]
		last.Parts = append(last.Parts, p)
		d.used += size
		if offset += p.Size; offset == c.Size {
			return nil
		}
	}
}

// entrySize returns what a part takes in an archive with so much room, in bytes, and makes the part smaller if it has to be; 0 says that there is
// no room for any of it.
func entrySize(p *Part, room int64) (int64, error) {
	numbered := *p
	numbered.number = 1 // its header is as long as that of any other number, and not shorter than that without one
	head, err := header(numbered.entryName(), min(p.Size, max(room, 0)))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", p.Digest, err)
	}
	size := int64(len(head)) + p.Size + padding(p.Size)
	if size <= room {
		return size, nil
	}
	rest := (room - int64(len(head))) / block * block
	if rest < leastPart || rest >= p.Size {
		return 0, nil
	}
	p.Size = rest
	return int64(len(head)) + rest, nil
}

// volumeOf reports whether a file's name is that of a volume of some bundle, and of which.
func volumeOf(name string) (bundle string, ok bool) {
	i := strings.LastIndex(name, "-vol-")
	if i < 0 || !strings.HasSuffix(name, ".tar") {
		return "", false
	}
	return name[:i], true
}

// namesVolume reports whether a file has the name of some volume of the bundle, complete or not, whether there is such a volume or not.
func (b *Bundle) namesVolume(name string) bool {
	of, ok := volumeOf(strings.TrimSuffix(name, partEnding))
	return ok && of == b.Name()
}
