package corpus

import (
	"fmt"
	"strings"
)

// Shape describes a corpus: images that share layers as real ones do. Below each image's own layer lies one of its
// repository, below that one of its family (a language's runtime), below that one of all (a distribution). Every platform
// has its own.
type Shape struct {
	Name string
	// Version changes whenever the content does, so that nobody takes a storage of old content for a new one.
	Version      int
	Repositories int
	Tags         int
	Platforms    []string // one: no index
	Families     int      // repository r belongs to family r modulo this; 0 is no such layer
	// Sizes in bytes of one layer for one platform, before it is packed; 0 is no such layer.
	BaseLayer, FamilyLayer, RepositoryLayer, OwnLayer int64
}

// Shapes returns the corpora there are: "small" is 10 repositories of 6 tags for 2 platforms, "wide" is 1000 tiny images,
// "big" is 6 images of 300 MB.
func Shapes() []Shape {
	const kB, MB = 1000, 1000 * 1000
	return []Shape{
		{
			Name: "small", Version: 1, Repositories: 10, Tags: 6, Platforms: []string{"linux/amd64", "linux/arm64"}, Families: 2,
			BaseLayer: 6280 * kB, FamilyLayer: 3120 * kB, RepositoryLayer: 1600 * kB, OwnLayer: 524 * kB,
		},
		{
			Name: "wide", Version: 1, Repositories: 20, Tags: 50, Platforms: []string{"linux/amd64"}, Families: 4,
			BaseLayer: 64 * kB, FamilyLayer: 16 * kB, RepositoryLayer: 8 * kB, OwnLayer: 2 * kB,
		},
		{
			Name: "big", Version: 1, Repositories: 3, Tags: 2, Platforms: []string{"linux/amd64"},
			BaseLayer: 100 * MB, RepositoryLayer: 100 * MB, OwnLayer: 100 * MB,
		},
	}
}

// Find returns the shape of a name.
func Find(name string) (Shape, error) {
	var names []string
	for _, shape := range Shapes() {
		if shape.Name == name {
			return shape, nil
		}
		names = append(names, shape.Name)
	}
	return Shape{}, fmt.Errorf("no corpus is named %q; there are %s", name, strings.Join(names, ", "))
}

// String is a shape's one-line description.
func (s Shape) String() string {
	text := fmt.Sprintf("%s: %d repositories × %d tags", s.Name, s.Repositories, s.Tags)
	if len(s.Platforms) > 1 {
		text += fmt.Sprintf(" × %d platforms", len(s.Platforms))
	}
	return text
}

// repository is the path of a repository at the source.
func repository(r int) string { return fmt.Sprintf("apps/app-%02d", r) }

// tag is the name of a tag.
func tag(t int) string { return fmt.Sprintf("1.%d.0", t) }
