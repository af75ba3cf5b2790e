package mirror

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/signature"
)

// TestUnsigned: a pushed signature leads to the tags of its image, in its own repository, until each is verified by each job that has it.
func TestUnsigned(t *testing.T) {
	app, other := image.Repository{Registry: "registry.example.com", Path: "app"}, image.Repository{Registry: "registry.example.com", Path: "other"}
	hex := strings.Repeat("a", 64)
	of := app.Digest(image.Digest("sha256:" + hex))
	var u Unsigned
	u.waits(of, "job", of)
	u.forget(of, "job", of)
	u.waits(of, "job", app.Tag("v1"))
	u.waits(of, "job", image.Reference{Repository: app, Tag: "latest", Digest: of.Digest})
	u.waits(of, "job", app.Tag("v1"))
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
	u.waits(of, "job", other.Tag("v1")) // whose signatures are in the same repository
	u.waits(of, "stricter", app.Tag("v1"))
	for _, step := range []struct {
		job  string
		tag  image.Reference
		left []image.Reference
	}{
		{"job", other.Tag("v1"), want},
		{"job", app.Tag("v1"), []image.Reference{app.Tag("latest"), app.Tag("v1")}},
		{"stricter", app.Tag("v1"), []image.Reference{app.Tag("latest")}},
		{"job", image.Reference{Repository: app, Tag: "latest", Digest: of.Digest}, nil},
		{"job", app.Tag("latest"), nil},
	} {
		u.forget(of, step.job, step.tag)
		if got := u.SignedBy(app.Tag("sha256-" + hex)); !slices.Equal(got, step.left) {
			t.Errorf("after %s has forgotten %s, %v wait", step.job, step.tag, got)
		}
	}
	if u.held != 0 || len(u.images) > 0 {
		t.Errorf("%d tags are held, %v", u.held, u.images)
	}
	for i := range 2 * maxUnsigned {
		u.waits(app.Digest(image.Digest(fmt.Sprintf("sha256:%064d", i))), "job", app.Tag("v1"))
		if len(u.images) > maxUnsigned || u.held > maxUnsigned {
			t.Fatalf("%d images, %d tags", len(u.images), u.held)
		}
	}
	var nobody *Unsigned
	nobody.waits(of, "job", app.Tag("v1"))
	nobody.forget(of, "job", app.Tag("v1"))
	if got := nobody.SignedBy(app.Tag("sha256-" + hex)); got != nil {
		t.Errorf("%v", got)
	}
}

// unsignedSource has no signatures. While somebody looks for one, its event arrives, the first time.
type unsignedSource struct {
	signature.Source
	unsigned *Unsigned
	asked    []image.Reference // for signatures
	found    []image.Reference // by the event
	fails    error
}

func (s *unsignedSource) Head(_ context.Context, ref image.Reference) (image.Descriptor, error) {
	if s.asked = append(s.asked, ref); len(s.asked) == 1 {
		s.found = s.unsigned.SignedBy(ref)
	}
	return image.Descriptor{}, cmp.Or(s.fails, image.ErrAbsent)
}

func (*unsignedSource) Referrers(context.Context, image.Repository, image.Digest) ([]image.Referrer, error) {
	return nil, nil
}

// giving is a source that gives all that it names.
type giving struct{ Manifests }

func (giving) Given(context.Context, image.Reference) error { return nil }

// TestUnsignedMeanwhile: the event of a signature that comes while it is looked for leads to the tag, and further tags of the image do not rely on
// that look. A tag whose signatures cannot be looked for does not wait for one: it is tried again by itself.
func TestUnsignedMeanwhile(t *testing.T) {
	var u Unsigned
	source := &unsignedSource{unsigned: &u}
	m := &Mirror{Signatures: source, Unsigned: &u, Manifests: giving{}, Log: slog.New(slog.DiscardHandler)}
	r := &run{job: plan.Job{Name: "job", Policies: []*plan.Policy{{Name: "p"}}}}
	app := image.Repository{Registry: "registry.example.com", Path: "app"}
	verify := func(tag string, looks int) {
		t.Helper()
		order := Order{Action: diff.Action{Source: app.Tag(tag).WithDigest(image.Digest("sha256:" + strings.Repeat("a", 64)))}}
		if _, refused := errors.AsType[*RefusedError](m.verify(t.Context(), r, order)); !refused || len(source.asked) != looks {
			t.Errorf("%s: refused %v after %d looks, want %d", tag, refused, len(source.asked), looks)
		}
	}
	verify("v1", 1)
	if !slices.Equal(source.found, []image.Reference{app.Tag("v1")}) {
		t.Errorf("the event led to %v", source.found)
	}
	verify("v2", 2)
	verify("v3", 2)
	source.fails = errors.New("away")
	u.SignedBy(app.Tag("sha256-" + strings.Repeat("a", 64)))
	order := Order{Action: diff.Action{Source: app.Tag("v4").WithDigest(image.Digest("sha256:" + strings.Repeat("a", 64)))}}
	if err := m.verify(t.Context(), r, order); !errors.Is(err, source.fails) || u.held != 3 {
		t.Errorf("%v; %d tags wait", err, u.held)
	}
}
