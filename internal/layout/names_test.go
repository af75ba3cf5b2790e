package layout

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/draysync/dray/internal/image"
)

func TestNames(t *testing.T) {
	for name, tag := range map[string]string{
		"1.25": "1.25", "registry.example/team/nginx:1.25": "1.25", "nginx:1.25": "1.25", "registry.example:5000/team/nginx": "",
		"registry.example:5000/nginx@sha256:00": "", "nginx:1.25@sha256:00": "", "": "",
	} {
		if got := (entry{Annotations: map[string]string{refName: name}}).tag(); got != tag {
			t.Errorf("%q has the tag %q, not %q", name, got, tag)
		}
	}
}

// TestWholeNames: images of which the names end alike are several, none is taken for the other, and writing takes out none of them.
func TestWholeNames(t *testing.T) {
	d := func(text string) image.Digest { return image.DigestOf([]byte(text), "") }
	whole := func(name string) map[string]string { return map[string]string{refName: name} }
	ix := newIndex()
	ix.entries = []entry{
		{Digest: d("nginx"), Annotations: whole("registry.example/nginx:1.25")},
		{Digest: d("busybox"), Annotations: whole("registry.example/busybox:1.36")},
		{Digest: d("redis"), Annotations: map[string]string{refName: "1.25", containerdName: "registry.example/redis:1.25"}},
	}
	if err := ix.ambiguous("1.25"); !errors.Is(err, image.ErrHidden) || strings.Contains(err.Error(), "registry does not") || !strings.Contains(err.Error(), "by its digest") {
		t.Errorf("of two images with one tag: %v", err)
	}
	if e, ok := ix.find(image.Reference{Tag: "1.36"}); !ok || e.Digest != d("busybox") || ix.ambiguous("1.36") != nil {
		t.Errorf("a tag that one name ends in finds %v", e)
	}
	for _, tag := range []string{"1.25", "1.36", "1.25"} {
		ix.set(Tagged{tag, image.Descriptor{Digest: d(tag)}})
		if e, _ := ix.find(image.Reference{Tag: tag}); e.Digest != d(tag) || ix.ambiguous(tag) != nil {
			t.Errorf("%s, once written, is %v", tag, e)
		}
	}
	if len(ix.entries) != 5 {
		raw, _ := json.Marshal(ix.entries)
		t.Errorf("the entries are %s", raw)
	}
}
