package bundle

import "github.com/draysync/dray/internal/image"

// Changes are the differences between two bundles.
type Changes struct {
	// Added and Moved are refs of the newer one, and Removed those of the older one that it lacks.
	Added, Moved, Removed []Ref
	// Bytes is the size of what the newer one has and the older one lacks.
	Bytes int64

	was map[string]image.Digest
}

// Was is the digest that a ref had in the older one; empty for none.
func (c Changes) Was(r Ref) image.Digest { return c.was[r.String()] }

// Compare compares two bundles by their refs and content, whatever is in their volumes.
func Compare(older, newer *Bundle) Changes {
	c := Changes{Added: []Ref{}, Moved: []Ref{}, Removed: []Ref{}, was: map[string]image.Digest{}}
	for _, r := range older.Refs {
		c.was[r.String()] = r.Digest
	}
	there := map[string]bool{}
	for _, r := range newer.Refs {
		there[r.String()] = true
		switch c.was[r.String()] {
		case "":
			c.Added = append(c.Added, r)
		case r.Digest:
		default:
			c.Moved = append(c.Moved, r)
		}
	}
	for _, r := range older.Refs {
		if !there[r.String()] {
			r.Was = ""
			c.Removed = append(c.Removed, r)
		}
	}
	has := older.sizes()
	for _, content := range newer.contents() {
		if _, ok := has[content.Digest]; !ok {
			c.Bytes += content.Size
		}
	}
	return c
}

// Changes are those since the base of a bundle, or all that it has where it needs none.
func (b *Bundle) Changes() Changes {
	c := Changes{Added: []Ref{}, Moved: []Ref{}, Removed: b.Removed, was: map[string]image.Digest{}}
	for _, r := range b.Refs {
		c.was[r.String()] = r.Was
		switch r.Was {
		case "":
			c.Added = append(c.Added, r)
		case r.Digest:
		default:
			c.Moved = append(c.Moved, r)
		}
	}
	in := b.inVolumes()
	for _, content := range b.contents() {
		if in[content.Digest] {
			c.Bytes += content.Size
		}
	}
	return c
}

// ReadDocument reads the document of the bundle at a path: a folder with one, or the document.
func ReadDocument(path string) (*Bundle, error) {
	s, err := openSet([]string{path}, "")
	if err != nil {
		return nil, err
	}
	return s.Bundle, nil
}
