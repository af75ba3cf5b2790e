package layout

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/image"
)

// TestRepair takes out what is broken and what needs it, and no more: what is left is whole.
func TestRepair(t *testing.T) {
	list := func(v surveyed) string { return image.ReferrersTag(v.root) }
	for name, tt := range map[string]struct {
		harm func(t *testing.T, v surveyed)
		want func(v surveyed) Repaired
	}{
		"whole": {func(*testing.T, surveyed) {}, func(surveyed) Repaired { return Repaired{} }},
		"a flipped byte of one tag": {
			func(t *testing.T, v surveyed) {
				must(t, os.WriteFile(v.path(image.DigestOf([]byte("third"), "")), []byte("thirD"), 0o600))
			},
			func(surveyed) Repaired {
				return Repaired{Files: []image.Digest{image.DigestOf([]byte("third"), "")}, Tags: []string{"two"}}
			},
		},
		"what is foreign": {
			func(t *testing.T, v surveyed) {
				must(t, os.MkdirAll(filepath.Join(v.path(image.DigestOf([]byte("a folder"), "")), "x"), 0o700))
				must(t, os.WriteFile(filepath.Join(v.dir, blobsDir, "sha512"), nil, 0o600))
			},
			func(surveyed) Repaired { return Repaired{} },
		},
		"an empty folder in place of a blob": {
			func(t *testing.T, v surveyed) {
				must(t, os.Remove(v.path(v.shared)))
				must(t, os.Mkdir(v.path(v.shared), 0o700))
			},
			func(v surveyed) Repaired {
				return Repaired{Files: []image.Digest{v.shared}, Tags: []string{"one", "two"}}
			},
		},
		"a missing blob of both": {
			func(t *testing.T, v surveyed) { must(t, os.Remove(v.path(v.shared))) },
			func(surveyed) Repaired { return Repaired{Tags: []string{"one", "two"}} },
		},
		"a broken signature takes its image along": {
			func(t *testing.T, v surveyed) {
				must(t, os.Truncate(v.path(image.DigestOf([]byte("signature"), "")), 2))
			},
			func(v surveyed) Repaired {
				return Repaired{Files: []image.Digest{image.DigestOf([]byte("signature"), "")}, Tags: []string{"one", list(v)}}
			},
		},
		"a broken file that no tag needs": {
			func(t *testing.T, v surveyed) { must(t, os.WriteFile(v.path(v.orphan), nil, 0o600)) },
			func(v surveyed) Repaired { return Repaired{Files: []image.Digest{v.orphan}} },
		},
		"a truncated index.json": {
			func(t *testing.T, v surveyed) { must(t, os.Truncate(filepath.Join(v.dir, indexFile), 20)) },
			func(surveyed) Repaired { return Repaired{Index: true} },
		},
		"no oci-layout": {
			func(t *testing.T, v surveyed) { must(t, os.Remove(filepath.Join(v.dir, layoutFile))) },
			func(surveyed) Repaired { return Repaired{} },
		},
		"files of others are left alone": {
			func(t *testing.T, v surveyed) {
				must(t, os.WriteFile(filepath.Join(v.dir, blobsDir, "sha256", "notes.txt"), []byte("x"), 0o600))
			},
			func(surveyed) Repaired { return Repaired{} },
		},
	} {
		t.Run(name, func(t *testing.T) {
			v, s := newSurveyed(t), New()
			tt.harm(t, v)
			want := tt.want(v)
			for _, dry := range []bool{true, false} {
				got, err := s.Repair(t.Context(), v.dir, dry)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("dry %t: %s", dry, diff)
				}
			}
			if got, err := Verify(t.Context(), v.dir); err != nil || len(got.Problems) > 0 || got.Tags != 3-len(want.Tags) && !want.Index {
				t.Errorf("%+v %v", got, err)
			}
			if again, err := s.Repair(t.Context(), v.dir, false); err != nil || !again.Nothing() {
				t.Errorf("once more: %+v %v", again, err)
			}
		})
	}
}

// TestRepairAtFolder: a folder with files where one is needed is named, and nothing is removed.
func TestRepairAtFolder(t *testing.T) {
	for _, of := range []func(v surveyed) image.Digest{func(v surveyed) image.Digest { return v.shared }, func(v surveyed) image.Digest { return v.root }} {
		v := newSurveyed(t)
		path := v.path(of(v))
		must(t, os.Remove(path))
		must(t, os.MkdirAll(filepath.Join(path, "x"), 0o700))
		must(t, os.WriteFile(v.path(v.orphan), nil, 0o600))
		for _, dry := range []bool{true, false} {
			if got, err := New().Repair(t.Context(), v.dir, dry); err == nil || !strings.Contains(err.Error(), path+" is a folder that is not empty") {
				t.Errorf("dry %t: %+v %v", dry, got, err)
			}
		}
		for _, path := range []string{filepath.Join(path, "x"), v.path(v.orphan)} {
			if _, err := os.Stat(path); err != nil {
				t.Error(err)
			}
		}
		must(t, os.Remove(filepath.Join(path, "x")))
		if got, err := New().Repair(t.Context(), v.dir, false); err != nil || got.Nothing() {
			t.Errorf("%+v %v", got, err)
		}
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the folder is there: %v", err)
		}
	}
}

// What has been repaired is written again from its parts, of which those that are there are not.
func TestRepairThenWrite(t *testing.T) {
	v, s := newSurveyed(t), New()
	repo := image.Repository{Path: v.dir}
	raw, err := os.ReadFile(v.path(v.root))
	must(t, err)
	must(t, os.WriteFile(v.path(v.shared), []byte("sharee"), 0o600)) // as long as it was
	if _, err := s.Repair(t.Context(), v.dir, false); err != nil {
		t.Fatal(err)
	}
	m := manifestOf(string(raw))
	if err := s.PutManifest(t.Context(), repo.Tag("one"), m); err == nil || !strings.Contains(err.Error(), "refers to "+string(v.shared)) {
		t.Errorf("a manifest is taken of which a blob is missing: %v", err)
	}
	must(t, s.PutBlob(t.Context(), repo, image.Descriptor{Digest: v.shared, Size: 6}, opener("shared")))
	must(t, s.PutManifest(t.Context(), repo.Tag("one"), m))
	if got, err := Verify(t.Context(), v.dir); err != nil || len(got.Problems) > 0 || got.Tags != 2 { // its list of referrers had stayed
		t.Errorf("%+v %v", got, err)
	}
}

func TestRepairNoLayout(t *testing.T) {
	empty := t.TempDir()
	if _, err := New().Repair(t.Context(), empty, false); !errors.Is(err, image.ErrAbsent) {
		t.Errorf("the error is %v", err)
	}
	if files, err := os.ReadDir(empty); err != nil || len(files) > 0 {
		t.Errorf("%v %v", files, err)
	}
}
