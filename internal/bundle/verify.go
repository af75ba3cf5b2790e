package bundle

import (
	"context"
	"fmt"
	"hash"
	"io"
	"os"
	"slices"

	"github.com/draysync/dray/internal/file"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/layout"
	"github.com/draysync/dray/internal/signature"
)

// Verified is what Verify has found.
type Verified struct {
	*Bundle
	// SHA256 is that of the bundle's document, from which all else follows.
	SHA256 image.Digest
	// Signer is the name of a key that has signed the document; empty where no keys are given.
	Signer   string
	Problems []Problem
	// Lost are the refs that cannot be loaded for what is missing or damaged.
	Lost []Ref
}

// Whole reports whether all can be loaded, and nothing is too much.
func (v Verified) Whole() bool { return len(v.Problems) == 0 && len(v.Lost) == 0 }

// Verify reads a bundle in folders, or by its document, and reports what is missing, damaged or too much. With quick it reads only the manifests, and
// checks that each volume is there and has its size. With keys the document must be signed by one of these. An error says that there is no bundle, that no
// key has signed it, or that ctx has ended. It changes nothing.
func Verify(ctx context.Context, paths []string, quick bool, keys ...signature.FileKey) (Verified, error) {
	s, err := openSet(paths, "")
	if err != nil {
		return Verified{}, err
	}
	signer, err := s.verify(keys)
	if err != nil {
		return Verified{}, err
	}
	v := Verified{Signer: signer, Bundle: s.Bundle, SHA256: image.DigestOf(s.raw, "")}
	c := &checker{size: s.sizes(), good: map[image.Digest]bool{}, sums: map[image.Digest]*running{}, wrong: map[image.Digest]bool{}}
	buffer := make([]byte, chunk)
	for i, path := range s.files {
		var problems []Problem
		switch {
		case path == "":
			problems = []Problem{{File: s.Volumes[i].Name, Text: missing}}
		case quick:
			problems = s.glance(i, c)
		default:
			problems, err = s.check(ctx, i, buffer, c)
		}
		if v.Problems = append(v.Problems, problems...); err != nil {
			return v, err
		}
	}
	for _, name := range s.extra {
		v.Problems = append(v.Problems, Problem{File: name, Text: notPart})
	}
	in := s.inVolumes()
	for _, content := range s.Blobs {
		if s.Base != nil && !in[content.Digest] {
			c.good[content.Digest] = true // if the far side has the base, which load checks
		}
	}
	v.Lost = s.lost(c.good)
	return v, ctx.Err()
}

// check reads a volume: of several copies, up to one that is whole. If none is, content that is split goes on from the last one, though Load tries others.
func (s *set) check(ctx context.Context, i int, buffer []byte, c *checker) (all []Problem, err error) {
	before := c.sums
	for _, path := range s.copies[i] {
		s.files[i] = path
		if c.sums, err = clones(before); err != nil {
			return all, err
		}
		problems, err := s.scan(ctx, i, buffer, c)
		if all = append(all, problems...); err != nil {
			return all, err
		}
		if len(problems) == 0 {
			all = nil
			break
		}
	}
	for _, p := range s.Volumes[i].Parts {
		if c.wrong[p.Digest] && !c.good[p.Digest] {
			all = append(all, Problem{s.Volumes[i].Name, p.Digest, wrongParts})
		}
		delete(c.wrong, p.Digest)
	}
	return all, nil
}

// lost returns the refs that lead to something that is not good.
func (s *set) lost(good map[image.Digest]bool) (lost []Ref) {
	places := s.places()
	for _, r := range s.Refs {
		all, unread := reach(r.descriptor(), func(d image.Digest) ([]byte, error) { return s.read(places[d]) })
		bad := slices.ContainsFunc(all, func(p layout.Part) bool { return !good[p.Digest] && !p.Elsewhere })
		if bad || len(unread) > 0 {
			lost = append(lost, r)
		}
	}
	return lost
}

// checker is a sink that only looks.
type checker struct {
	size map[image.Digest]int64
	good map[image.Digest]bool
	// sums are of content that goes on in the next volume.
	sums map[image.Digest]*running
	// wrong is content of several volumes that does not match its digest, which is not the fault of the last of these.
	wrong map[image.Digest]bool
}

// running is a hash of the first bytes of some content.
type running struct {
	hash.Hash
	at int64
}

func clones(sums map[image.Digest]*running) (map[image.Digest]*running, error) {
	all := make(map[image.Digest]*running, len(sums))
	for d, sum := range sums {
		h, err := sum.Hash.(hash.Cloner).Clone()
		if err != nil {
			return nil, err //nolint:wrapcheck // it never fails
		}
		all[d] = &running{h, sum.at}
	}
	return all, nil
}

func (c *checker) begin(_ context.Context, p Part) (io.Writer, []io.Writer, error) {
	sum := c.sums[p.Digest]
	if p.Offset == 0 {
		sum = &running{Hash: image.Hash(p.Digest)}
		c.sums[p.Digest] = sum
	}
	if sum == nil || sum.at != p.Offset { // a part before is missing
		return nil, nil, nil
	}
	return sum, nil, nil
}

func (c *checker) end(p Part, all bool) (string, error) {
	sum := c.sums[p.Digest]
	if sum.at += p.Size; all && sum.at < c.size[p.Digest] {
		return "", nil
	}
	delete(c.sums, p.Digest)
	switch {
	case all && image.HasSum(p.Digest, sum.Hash):
		c.good[p.Digest] = true
	case all && p.number > 0:
		c.wrong[p.Digest] = true
	default:
		return "does not match its digest", nil
	}
	return "", nil
}

// glance checks the size of a volume only, and takes its content to be good.
func (s *set) glance(i int, c *checker) []Problem {
	v := s.Volumes[i]
	switch info, err := os.Stat(s.files[i]); {
	case err != nil:
		return []Problem{{File: s.nameOf(i), Text: fmt.Sprintf("cannot be read: %v", err)}}
	case info.Size() != v.Size:
		return []Problem{{File: s.nameOf(i), Text: fmt.Sprintf("has %d bytes, and %d are wanted", info.Size(), v.Size)}}
	}
	for _, p := range v.Parts {
		sum := c.sums[p.Digest]
		if p.Offset == 0 {
			sum = &running{}
			c.sums[p.Digest] = sum
		}
		if sum != nil && sum.at == p.Offset {
			sum.at += p.Size
			c.good[p.Digest] = sum.at == c.size[p.Digest]
		}
	}
	return nil
}

// place is where a part is in the volumes.
type place struct {
	Part
	volume int
	at     int64
}

// places returns where everything is.
func (s *set) places() map[image.Digest][]place {
	all := map[image.Digest][]place{}
	for i := range s.Volumes {
		at := int64(0)
		_ = s.stretches(i, func(st stretch) error { // it was checked with the document
			at += int64(len(st.known))
			if st.part.Digest != "" {
				all[st.part.Digest] = append(all[st.part.Digest], place{st.part, i, at})
			}
			at += st.part.Size
			return nil
		})
	}
	return all
}

// read reads a manifest out of the volumes, or out of other copies of these.
func (s *set) read(places []place) (raw []byte, err error) {
	copies := 1
	for _, p := range places {
		copies = max(copies, len(s.copies[p.volume]))
	}
	for i := range copies {
		if raw, err = s.readCopy(places, i); err == nil {
			break
		}
	}
	return raw, err
}

func (s *set) readCopy(places []place, i int) ([]byte, error) {
	var raw []byte
	for _, p := range places {
		paths := s.copies[p.volume]
		if len(paths) == 0 {
			return nil, image.ErrAbsent
		}
		f, err := file.Open(paths[min(i, len(paths)-1)])
		if err != nil {
			return nil, err
		}
		part, err := io.ReadAll(io.NewSectionReader(f, p.at, min(p.Size, layout.MaxManifest)))
		f.Close()
		if err != nil {
			return nil, err //nolint:wrapcheck // it names the file
		}
		raw = append(raw, part...)
	}
	if len(places) == 0 || image.DigestOf(raw, places[0].Digest) != places[0].Digest {
		return nil, image.ErrCorrupt
	}
	return raw, nil
}
