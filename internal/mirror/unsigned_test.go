package mirror

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/draysync/dray/internal/image"
)

// TestUnsigned: a pushed signature leads to the tags of its image, in its own repository, until the image is verified.
func TestUnsigned(t *testing.T) {
	app, other := image.Repository{Registry: "registry.example.com", Path: "app"}, image.Repository{Registry: "registry.example.com", Path: "other"}
	hex := strings.Repeat("a", 64)
	of := app.Digest(image.Digest("sha256:" + hex))
	var u Unsigned
	u.refused(of, app.Tag("v1"))
	u.refused(of, image.Reference{Repository: app, Tag: "latest", Digest: of.Digest})
	u.refused(of, app.Tag("v1"))
	u.refused(of, of)
	want := []image.Reference{app.Tag("v1"), app.Tag("latest")}
	for pushed, found := range map[image.Reference]bool{
		app.Tag("sha256-" + hex + ".sig"): true, app.Tag("sha256-" + hex + ".att"): true, app.Tag("sha256-" + hex): true,
		app.Tag("sha256-" + strings.Repeat("b", 64) + ".sig"): false, other.Tag("sha256-" + hex + ".sig"): false,
		app.Tag("v1"): false, app.Tag("sha256"): false, app.Tag("a-b.c"): false, of: true, other.Digest(of.Digest): false,
	} {
		if got := u.SignedBy(pushed); slices.Equal(got, want) != found || !found && len(got) > 0 {
			t.Errorf("%s leads to %v", pushed, got)
		}
	}
	u.refused(of, other.Tag("v1")) // whose signatures are in the same repository
	u.verified(other, of)
	if got := u.SignedBy(app.Tag("sha256-" + hex)); !slices.Equal(got, want) || u.held != 2 {
		t.Errorf("tags of one repository are forgotten with those of another: %v, %d", got, u.held)
	}
	u.verified(app, of)
	u.verified(app, of)
	if got := u.SignedBy(app.Tag("sha256-" + hex + ".sig")); len(got) > 0 || u.held != 0 {
		t.Errorf("a verified image still waits: %v, %d", got, u.held)
	}
	for i := range 2 * maxUnsigned {
		u.refused(app.Digest(image.Digest(fmt.Sprintf("sha256:%064d", i))), app.Tag("v1"))
		if len(u.tags) > maxUnsigned || u.held > maxUnsigned {
			t.Fatalf("%d images, %d tags", len(u.tags), u.held)
		}
	}
	var nobody *Unsigned
	nobody.refused(of, app.Tag("v1"))
	nobody.verified(app, of)
	if got := nobody.SignedBy(app.Tag("sha256-" + hex)); got != nil {
		t.Errorf("%v", got)
	}
}
