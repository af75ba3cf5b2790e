package corpus

import "github.com/draysync/dray/internal/emulator/registry"

// Content says what a filled storage holds.
type Content struct {
	Corpus  string `json:"corpus"`
	Version int    `json:"version"`
	// Unique is the sum of all blobs of the corpus, PerRepository counts a blob once for each repository that has it. In
	// bytes; neither counts what lies beside the corpus.
	Unique        int64 `json:"unique"`
	PerRepository int64 `json:"perRepository"`
	// Repositories are those of the corpus.
	Repositories []Repository `json:"repositories"`
	// Promoted are repositories beside the corpus: images of several repositories, as they are.
	Promoted []Repository `json:"promoted"`
	// Rebuilt is another image for a tag of the corpus.
	Rebuilt Rebuilt `json:"rebuilt"`
}

// Repository is a repository at the source.
type Repository struct {
	Path string `json:"path"`
	Tags []Tag  `json:"tags"` // those that belong to it; it may have more
}

// Tag is a tag and where it leads.
type Tag struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
}

// Rebuilt is an image that shares all but its last layers and configs with the one that has the tag.
type Rebuilt struct {
	Repository string `json:"repository"`
	Tag        string `json:"tag"`
	Digest     string `json:"digest"` // of the image, which has the tag RebuiltTag
	MediaType  string `json:"mediaType"`
	Bytes      int64  `json:"bytes"` // of the blobs that the image at Tag does not have
}

// RebuiltTag leads to the rebuilt image; the corpus has no such tag.
const RebuiltTag = "rebuilt"

// Tags counts those of the corpus.
func (c Content) Tags() int {
	n := 0
	for _, repository := range c.Repositories {
		n += len(repository.Tags)
	}
	return n
}

// placed is an image and where it goes.
type placed struct {
	repository, tag string
	image           registry.Image
}

// promotions are how many repositories of promoted images there are; a scenario uses up one of them.
const promotions = 2

// build makes all images one after the other and hands them to place. It returns what they come to.
func (s Shape) build(place func(placed) error) (Content, error) {
	b := builder{shape: s, maker: newMaker(s), place: place, unique: map[string]int64{}}
	b.content = Content{Corpus: s.Name, Version: s.Version}
	for n := range promotions {
		b.content.Promoted = append(b.content.Promoted, Repository{Path: "apps/" + []string{"promoted", "staged"}[n]})
	}
	for r := range s.Repositories {
		if err := b.repository(r); err != nil {
			return Content{}, err
		}
	}
	for _, size := range b.unique {
		b.content.Unique += size
	}
	return b.content, nil
}

// builder is one call of build.
type builder struct {
	shape   Shape
	maker   *maker
	place   func(placed) error
	content Content
	unique  map[string]int64 // size by digest
}

func (b *builder) repository(r int) error {
	to := Repository{Path: repository(r)}
	blobs := map[string]int64{}
	for t := range b.shape.Tags {
		image := b.maker.image(r, t, "")
		to.Tags = append(to.Tags, Tag{tag(t), image.Digest})
		for _, blob := range image.Blobs {
			blobs[blob.Digest] = int64(len(blob.Data))
		}
		if err := b.place(placed{to.Path, tag(t), image}); err != nil {
			return err
		}
		if err := b.promote(r, t, image); err != nil {
			return err
		}
		if r == b.shape.Repositories/2 && t == b.shape.Tags/2 {
			if err := b.rebuild(r, t, image); err != nil {
				return err
			}
		}
	}
	for digest, size := range blobs {
		b.content.PerRepository += size
		b.unique[digest] = size
	}
	b.content.Repositories = append(b.content.Repositories, to)
	return nil
}

// promote places the image in the repository of promoted images that wants it: each takes up to 6 tags, and each tag from
// another repository of the corpus as long as there are enough.
func (b *builder) promote(r, t int, image registry.Image) error {
	for n := range b.content.Promoted {
		if t >= min(b.shape.Tags, 6) || r != (t+n)%b.shape.Repositories {
			continue
		}
		to := &b.content.Promoted[n]
		to.Tags = append(to.Tags, Tag{tag(t), image.Digest})
		if err := b.place(placed{to.Path, tag(t), image}); err != nil {
			return err
		}
	}
	return nil
}

// rebuild places another image beside one of the corpus.
func (b *builder) rebuild(r, t int, old registry.Image) error {
	image := b.maker.image(r, t, "rebuilt")
	known := map[string]bool{}
	for _, blob := range old.Blobs {
		known[blob.Digest] = true
	}
	b.content.Rebuilt = Rebuilt{
		Repository: repository(r), Tag: tag(t), Digest: image.Digest, MediaType: image.Root().MediaType,
	}
	for _, blob := range image.Blobs {
		if !known[blob.Digest] {
			b.content.Rebuilt.Bytes += int64(len(blob.Data))
		}
	}
	return b.place(placed{repository(r), RebuiltTag, image})
}
