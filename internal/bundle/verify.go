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
	c := &checker{size: s.sizes(), good: map[image.Digest]bool{}, sums: map[image.Digest]*running{}}
	buffer := make([]byte, chunk)
	for i, path := range s.files {
		var problems []Problem
		switch {
		case path == "":
			problems = []Problem{{File: s.Volumes[i].Name, Text: missing}}
		case quick:
			problems = s.glance(i, c)
		default:
			if err = s.choose(ctx, i); err == nil {
				problems, err = s.scan(ctx, i, buffer, c)
			}
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

// lost returns the refs that lead to something that is not good.
func (s *set) lost(good map[image.Digest]bool) (lost []Ref) {
	places := s.places()
	read := func(d image.Digest) ([]byte, error) { return s.read(places[d]) }
	for _, r := range s.Refs {
		all, unread := reach(r.descriptor(), read)
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
}

// running is a hash of the first bytes of some content.
type running struct {
	hash.Hash
	at int64
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
	if !all || !image.HasSum(p.Digest, sum.Hash) {
		return "does not match its digest", nil
	}
	c.good[p.Digest] = true
	return "", nil
}

// glance checks the size of a volume only, and takes its content to be good.
func (s *set) glance(i int, c *checker) []Problem {
	v := s.Volumes[i]
	switch info, err := os.Stat(s.files[i]); {
	case err != nil:
		return []Problem{{File: v.Name, Text: fmt.Sprintf("cannot be read: %v", err)}}
	case info.Size() != v.Size:
		return []Problem{{File: v.Name, Text: fmt.Sprintf("has %d bytes, and %d are wanted", info.Size(), v.Size)}}
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

// read reads a manifest out of the volumes.
func (s *set) read(places []place) ([]byte, error) {
	var raw []byte
	for _, p := range places {
		f, err := file.Open(s.files[p.volume])
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
