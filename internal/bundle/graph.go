package bundle

import (
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/layout"
)

// reach returns what a manifest leads to, itself included, each once, and which manifests could not be read.
func reach(root image.Descriptor, read func(image.Digest) ([]byte, error)) (all []layout.Part, unread []image.Digest) {
	listed, walked := map[image.Digest]bool{}, map[image.Digest]bool{} // a manifest may be listed as a blob elsewhere
	var walk func(p layout.Part, depth int)
	walk = func(p layout.Part, depth int) {
		if !listed[p.Digest] {
			listed[p.Digest] = true
			all = append(all, p)
		}
		if !p.Manifest || walked[p.Digest] {
			return
		}
		walked[p.Digest] = true
		raw, err := read(p.Digest)
		var parts []layout.Part
		if err == nil {
			parts, err = layout.PartsOf(raw, read)
		}
		if err != nil || depth > image.MaxNesting {
			unread = append(unread, p.Digest)
			return
		}
		for _, part := range parts {
			walk(part, depth+1)
		}
	}
	walk(layout.Part{Descriptor: root, Manifest: true}, 0)
	return all, unread
}
