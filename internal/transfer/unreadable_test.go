package transfer_test

import (
	"bytes"
	"testing"

	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/image"
)

// TestUnreadableManifests: what clients that are written in Go refuse to read is not imported, and the error names the field. None of these is read by
// containerd, skopeo or crane, nor taken by the registry of the distribution project.
func TestUnreadableManifests(t *testing.T) {
	good := emulator.SingleArch(1, "linux/amd64", emulator.ImageOptions{})
	for name, c := range map[string]struct {
		from, to string
		want     []string
	}{
		"a size with a fraction of zero": {`"size":`, `"size":1.0,"was":`, []string{"number 1.0", `"config.size"`, "push the image anew"}},
		"a size with an exponent":        {`"size":`, `"size":3.99e2,"was":`, []string{"number 3.99e2", `"config.size"`}},
		"a size as a text":               {`"size":`, `"size":"399","was":`, []string{"string", `"config.size"`}},
		"a version with a fraction":      {`"schemaVersion":2`, `"schemaVersion":2.0`, []string{"sent no manifest", "schemaVersion"}},
		"a byte order mark":              {"{", "\ufeff{", []string{"sent no manifest", "byte order mark"}},
		"something after it":             {`"schemaVersion":2`, `"schemaVersion":2}`, []string{"sent no manifest", "no JSON object"}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, emulator.Options{LaxManifests: true}, func(t *testing.T, s *stand) {
				s.push(t, good, "team/app", "v1")
				raw := bytes.Replace(good.Root().Body, []byte(c.from), []byte(c.to), 1)
				if bytes.Equal(raw, good.Root().Body) {
					t.Fatalf("nothing is changed in %s", raw)
				}
				digest := s.source.Store("team/app", "v1", image.MediaTypeOCIManifest, raw)
				contains(t, s.try(t.Context(), order("team/app", "v1", digest)), append(c.want, digest)...)
				if got := s.target.Digest("team/app", "v1"); got != "" {
					t.Errorf("the tag holds %s", got)
				}
			})
		})
	}
}
