package corpus

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tiny is a shape that has everything and is made at once.
func tiny() Shape {
	return Shape{
		Name: "tiny", Version: 1, Repositories: 3, Tags: 2, Platforms: []string{"linux/amd64", "linux/arm64"}, Families: 2,
		BaseLayer: 5000, FamilyLayer: 400, RepositoryLayer: 300, OwnLayer: 200,
	}
}

// make collects what build places.
func build(t *testing.T, shape Shape) (Content, map[string]string) {
	t.Helper()
	digests := map[string]string{}
	content, err := shape.build(func(p placed) error {
		digests[p.repository+":"+p.tag] = p.image.Digest
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return content, digests
}

func TestPromisedSizes(t *testing.T) {
	tests := []struct {
		name            string
		tags            int
		unique, counted float64 // MB
	}{
		{"small", 60, 120, 283},
		{"wide", 1000, 4.4, 5.93},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			shape, err := Find(test.name)
			if err != nil {
				t.Fatal(err)
			}
			content, digests := build(t, shape)
			t.Logf("%d unique, %d per repository", content.Unique, content.PerRepository)
			if content.Tags() != test.tags {
				t.Errorf("%d tags, want %d", content.Tags(), test.tags)
			}
			seen := map[string]bool{}
			for _, repository := range content.Repositories {
				for _, tag := range repository.Tags {
					if seen[tag.Digest] || digests[repository.Path+":"+tag.Name] != tag.Digest {
						t.Errorf("%s:%s is a repetition or was not placed", repository.Path, tag.Name)
					}
					seen[tag.Digest] = true
				}
			}
			near(t, "unique", content.Unique, test.unique)
			near(t, "per repository", content.PerRepository, test.counted)
		})
	}
}

// near wants bytes within half a per cent of what was promised in MB.
func near(t *testing.T, what string, bytes int64, promised float64) {
	t.Helper()
	if ratio := float64(bytes) / (promised * 1e6); ratio < 0.995 || ratio > 1.005 {
		t.Errorf("%s: %d bytes, promised were %g MB", what, bytes, promised)
	}
}

// TestBig looks at one image of big only; making them all takes seconds.
func TestBig(t *testing.T) {
	shape, err := Find("big")
	if err != nil {
		t.Fatal(err)
	}
	shape.BaseLayer, shape.RepositoryLayer, shape.OwnLayer = shape.BaseLayer/100, shape.RepositoryLayer/100, shape.OwnLayer/100
	content, _ := build(t, shape)
	image := newMaker(shape).image(0, 0, "")
	if n := image.Size() * 100; n < 300e6 || n > 305e6 || len(image.Blobs) != 4 {
		t.Errorf("%d bytes in %d blobs, want 300 MB in 3 layers and a config", n, len(image.Blobs))
	}
	if content.Unique >= content.PerRepository || content.Tags() != 6 {
		t.Errorf("unique %d, per repository %d, tags %d", content.Unique, content.PerRepository, content.Tags())
	}
}

func TestDeterministic(t *testing.T) {
	content, digests := build(t, tiny())
	again, digestsAgain := build(t, tiny())
	if diff := cmp.Diff(content, again); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(digests, digestsAgain); diff != "" {
		t.Error(diff)
	}
	// If this digest changes, so does what lies in people's caches: raise the shapes' versions.
	if got, want := digests["apps/app-00:1.0.0"], "sha256:d8e3ea60c9b61ae14c7169eb6e0c8d6dad193ddd4df5252e59bfa4f2a24c306e"; got != want {
		t.Errorf("apps/app-00:1.0.0 is %s, want %s", got, want)
	}
	next := tiny()
	next.Version++
	if _, other := build(t, next); other["apps/app-00:1.0.0"] == digests["apps/app-00:1.0.0"] {
		t.Error("another version has the same content")
	}
}

// TestShares: a repository's image has the layers of all, of its family and of its repository.
func TestShares(t *testing.T) {
	m := newMaker(tiny())
	blobs := func(r, t int, build string) []string {
		var digests []string
		for _, blob := range m.image(r, t, build).Blobs {
			digests = append(digests, blob.Digest)
		}
		return digests
	}
	first := blobs(0, 0, "")
	tests := []struct {
		name string
		of   []string
		want int // blobs in common
	}{
		{"itself", blobs(0, 0, ""), 10},
		{"same repository", blobs(0, 1, ""), 6},
		{"rebuilt", blobs(0, 0, "rebuilt"), 6},
		{"same family", blobs(2, 0, ""), 4},
		{"another family", blobs(1, 0, ""), 2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			n := 0
			for _, digest := range test.of {
				if slices.Contains(first, digest) {
					n++
				}
			}
			if n != test.want || len(test.of) != 10 {
				t.Errorf("%d of %d blobs in common, want %d", n, len(test.of), test.want)
			}
		})
	}
}

// TestPromoted: every blob of a promoted image lies in a repository of the corpus, and no two images come from the same.
func TestPromoted(t *testing.T) {
	corpus, promoted := map[string]bool{}, map[string][]string{}
	content, err := tiny().build(func(p placed) error {
		for _, blob := range p.image.Blobs {
			switch {
			case p.repository == "apps/promoted" || p.repository == "apps/staged":
				promoted[p.repository] = append(promoted[p.repository], blob.Digest)
			case p.tag != RebuiltTag:
				corpus[blob.Digest] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	home := map[string]string{}
	for _, repository := range content.Repositories {
		for _, tag := range repository.Tags {
			home[tag.Digest] = repository.Path
		}
	}
	for _, repository := range content.Promoted {
		if a, b := home[repository.Tags[0].Digest], home[repository.Tags[1].Digest]; a == b || a == "" || b == "" {
			t.Errorf("%s is from %q and %q", repository.Path, a, b)
		}
		if len(repository.Tags) != 2 || len(promoted[repository.Path]) != 20 {
			t.Errorf("%s has %d tags and %d blobs", repository.Path, len(repository.Tags), len(promoted[repository.Path]))
		}
		for _, digest := range promoted[repository.Path] {
			if !corpus[digest] {
				t.Errorf("%s is in %s only", digest, repository.Path)
			}
		}
	}
	if content.Rebuilt.Bytes < 400 || content.Rebuilt.Bytes > 8000 {
		t.Errorf("the rebuilt image has %d bytes of its own", content.Rebuilt.Bytes)
	}
}
