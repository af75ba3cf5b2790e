package bench

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/draysync/dray/cmd/draybench/internal/result"
)

func TestLitter(t *testing.T) {
	write := func(t *testing.T, path string, size int) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name string
		work func(t *testing.T, dir string)
		want result.Temporary
	}{
		{"nothing", func(*testing.T, string) {}, result.Temporary{}},
		{"files that stay", func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "a"), 100)
			write(t, filepath.Join(dir, "below", "b"), 11)
		}, result.Temporary{Files: 2, Bytes: 111}},
		{"a file that is gone at once", func(t *testing.T, dir string) {
			path := filepath.Join(dir, "a")
			write(t, path, 0)
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}, result.Temporary{Files: 1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "tmp")
			write(t, filepath.Join(dir, "from before"), 5)
			watch, err := watchLitter(dir)
			if err != nil {
				t.Fatal(err)
			}
			test.work(t, dir)
			if got := watch.stop(); got != test.want {
				t.Errorf("%+v, want %+v", got, test.want)
			}
		})
	}
}
