package acr_test

import (
	"testing"

	"github.com/draysync/dray/internal/mirror"
)

func TestImport(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, w *world) {
		i := push(t, w.source.Content, "app", "v1", 1)
		r := w.run(t, job(t, sourceHost+"/app:v1", targetHost+"/app"))
		all(t, r[0], mirror.Imported, "acr")
		w.holds(t, "app", "v1", i.Digest)
		r = w.run(t, job(t, sourceHost+"/app:v1", targetHost+"/app"))
		all(t, r[0], mirror.Kept, "")
	})
}
