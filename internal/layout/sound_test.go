package layout

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/draysync/dray/internal/image"
)

// meddling is a context that does something before each read.
type meddling struct {
	context.Context //nolint:containedctx // it is one

	do func()
}

func (m meddling) Err() error {
	m.do()
	return m.Context.Err()
}

// TestWrittenWhileRead: a file of which somebody else writes what was read already does not count as sound, though what was read was.
func TestWrittenWhileRead(t *testing.T) {
	data := bytes.Repeat([]byte("sound"), 40_000) // several reads
	digest := image.DigestOf(data, "")
	path := filepath.Join(t.TempDir(), digest.Encoded())
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	reads := 0
	harm := func() {
		if reads++; reads != 2 { // the first part was read
			return
		}
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		if _, err := f.WriteString("damaged"); err != nil {
			t.Error(err)
		}
	}
	if right, err := hasBytes(t.Context(), path, digest); err != nil || !right {
		t.Fatalf("before: %t, %v", right, err)
	}
	if right, err := hasBytes(meddling{t.Context(), harm}, path, digest); err != nil || right {
		t.Errorf("damaged while it is read: %t, %v", right, err)
	}
	if reads < 2 {
		t.Errorf("the file was read %d times", reads)
	}
}
