package watch

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/draysync/dray/internal/fulltest"
)

// TestChange makes each change three times, since a watch that was lost with the first shows with the second.
func TestChange(t *testing.T) {
	fulltest.Long(t)
	tests := map[string]struct {
		// before makes what lies at root/conf/dray.yaml, with the content "0"; nil for a plain file.
		before func(t *testing.T, root, path string)
		// change makes the content text.
		change func(t *testing.T, root, path, text string)
	}{
		"written in place": {change: func(t *testing.T, _, path, text string) {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			must(t, err)
			_, err = f.WriteString(text)
			must(t, err, f.Close())
		}},
		"truncated, then written": {change: func(t *testing.T, _, path, text string) {
			must(t, os.Truncate(path, 0), write(path, text))
		}},
		"renamed over": {change: func(t *testing.T, root, path, text string) {
			must(t, write(filepath.Join(root, "conf", ".tmp"), text), os.Rename(filepath.Join(root, "conf", ".tmp"), path))
		}},
		"renamed over from another folder": {change: func(t *testing.T, root, path, text string) {
			must(t, write(filepath.Join(root, "other", "new"), text), os.Rename(filepath.Join(root, "other", "new"), path))
		}},
		"vim with a backup": {change: func(t *testing.T, _, path, text string) {
			must(t, os.Rename(path, path+"~"), write(path, text), os.Chmod(path, 0o640), os.Remove(path+"~"))
		}},
		"a symlink to a file": {
			before: func(t *testing.T, root, path string) {
				must(t, write(filepath.Join(root, "other", "0"), "0"), os.Symlink("../other/0", path))
			},
			change: func(t *testing.T, root, path, text string) {
				must(t, write(filepath.Join(root, "other", text), text), turn("../other/"+text, path))
			},
		},
		"a far target with an absolute target that is replaced": {
			before: func(t *testing.T, root, path string) {
				target := filepath.Join(root, "other", "file")
				must(t, write(target, "0"), os.Symlink(target, path))
			},
			change: func(t *testing.T, root, _, text string) {
				target := filepath.Join(root, "other", "file")
				must(t, write(target+".tmp", text), os.Rename(target+".tmp", target))
			},
		},
		"three symlinks, the middle one is turned": {
			before: func(t *testing.T, root, path string) {
				must(t, write(filepath.Join(root, "0"), "0"), os.Symlink("../0", filepath.Join(root, "other", "middle")),
					os.Symlink("other/middle", filepath.Join(root, "first")), os.Symlink("../first", path))
			},
			change: func(t *testing.T, root, _, text string) {
				must(t, write(filepath.Join(root, text), text), turn("../"+text, filepath.Join(root, "other", "middle")))
			},
		},
		"ConfigMap": {
			before: func(t *testing.T, root, path string) {
				must(t, configMap(root, "0"), os.Symlink("..data/dray.yaml", path))
			},
			change: func(t *testing.T, root, _, text string) {
				old, err := os.Readlink(filepath.Join(root, "conf", "..data"))
				must(t, err, configMap(root, text), os.RemoveAll(filepath.Join(root, "conf", old)))
			},
		},
		"the folder is replaced": {change: func(t *testing.T, root, path, text string) {
			must(t, os.Mkdir(filepath.Join(root, "new"), 0o700), write(filepath.Join(root, "new", "dray.yaml"), text),
				os.Rename(filepath.Dir(path), filepath.Join(root, "old"+text)), os.Rename(filepath.Join(root, "new"), filepath.Dir(path)))
		}},
		"the folder is removed and made again": {change: func(t *testing.T, root, path, text string) {
			must(t, os.RemoveAll(filepath.Dir(path)), os.Mkdir(filepath.Dir(path), 0o700), write(path, text))
		}},
		"the folder is a symlink": {
			before: func(t *testing.T, root, path string) {
				must(t, os.Remove(filepath.Dir(path)), os.Symlink("other", filepath.Dir(path)), write(path, "0"))
			},
			change: func(t *testing.T, root, path, text string) {
				must(t, os.Mkdir(filepath.Join(root, text), 0o700), write(filepath.Join(root, text, "dray.yaml"), text),
					turn(text, filepath.Dir(path)))
			},
		},
		"written through a hard link": {
			before: func(t *testing.T, root, path string) {
				must(t, write(filepath.Join(root, "other", "file"), "0"), os.Link(filepath.Join(root, "other", "file"), path))
			},
			change: func(t *testing.T, root, path, text string) {
				must(t, write(filepath.Join(root, "other", "file"), text))
			},
		},
		"a pipe in between": {change: func(t *testing.T, root, path, text string) {
			must(t, os.Remove(path), syscall.Mkfifo(path, 0o600), os.Remove(path), write(path, text))
		}},
	}
	texts := []string{"1", "2", "3"}
	if testing.Short() {
		texts = texts[:1]
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := tree(t, "conf", "other")
			path := filepath.Join(root, "conf", "dray.yaml")
			if tt.before != nil {
				tt.before(t, root, path)
			} else {
				must(t, write(path, "0"))
			}
			w := start(t, Options{Poll: never}, path)
			silent(t, w)
			for _, text := range texts {
				tt.change(t, root, path, text)
				expect(t, w, path, text)
			}
		})
	}
}

// configMap does what the kubelet does: a new folder, and ..data turned towards it.
func configMap(root, text string) error {
	folder := filepath.Join(root, "conf", "..2026_"+text)
	if err := os.Mkdir(folder, 0o700); err != nil {
		return err
	}
	if err := write(filepath.Join(folder, "dray.yaml"), text); err != nil {
		return err
	}
	return turn(filepath.Base(folder), filepath.Join(root, "conf", "..data"))
}

// TestAway takes something away, which is reported, and brings it back later, which is too.
func TestAway(t *testing.T) {
	fulltest.Long(t)
	tests := map[string]struct {
		away, back func(t *testing.T, root, path string)
	}{
		"the file": {
			away: func(t *testing.T, _, path string) { must(t, os.Remove(path)) },
			back: func(t *testing.T, _, path string) { must(t, write(path, "back")) },
		},
		"the folder is removed": {
			away: func(t *testing.T, _, path string) { must(t, os.RemoveAll(filepath.Dir(path))) },
			back: func(t *testing.T, _, path string) { must(t, os.Mkdir(filepath.Dir(path), 0o700), write(path, "back")) },
		},
		"the folder is moved": {
			away: func(t *testing.T, root, path string) {
				must(t, write(path, "old"), os.Rename(filepath.Dir(path), filepath.Join(root, "away")))
			},
			back: func(t *testing.T, root, path string) {
				must(t, write(filepath.Join(root, "away", "dray.yaml"), "back"), os.Rename(filepath.Join(root, "away"), filepath.Dir(path)))
			},
		},
		"two folders are removed": {
			away: func(t *testing.T, root, _ string) { must(t, os.RemoveAll(filepath.Join(root, "a"))) },
			back: func(t *testing.T, _, path string) {
				must(t, os.MkdirAll(filepath.Dir(path), 0o700), write(path, "back"))
			},
		},
		"a file stands where the folder was": {
			away: func(t *testing.T, _, path string) {
				must(t, os.RemoveAll(filepath.Dir(path)), write(filepath.Dir(path), "a file"))
			},
			back: func(t *testing.T, _, path string) {
				must(t, os.Remove(filepath.Dir(path)), os.Mkdir(filepath.Dir(path), 0o700), write(path, "back"))
			},
		},
		"a folder stands where the file was": {
			away: func(t *testing.T, _, path string) { must(t, os.Remove(path), os.Mkdir(path, 0o700)) },
			back: func(t *testing.T, _, path string) { must(t, os.Remove(path), write(path, "back")) },
		},
		"a pipe stands where the file was": {
			away: func(t *testing.T, _, path string) { must(t, os.Remove(path), os.Symlink(pipe(t), path)) },
			back: func(t *testing.T, _, path string) { must(t, os.Remove(path), write(path, "back")) },
		},
		"the symlink leads nowhere": {
			away: func(t *testing.T, root, path string) {
				must(t, os.Remove(path), os.RemoveAll(filepath.Join(root, "later")), os.Symlink(filepath.Join(root, "later", "on"), path))
			},
			back: func(t *testing.T, root, _ string) {
				must(t, os.Mkdir(filepath.Join(root, "later"), 0o700), write(filepath.Join(root, "later", "on"), "back"))
			},
		},
		"the symlink leads to itself": {
			away: func(t *testing.T, _, path string) { must(t, os.Remove(path), os.Symlink("dray.yaml", path)) },
			back: func(t *testing.T, _, path string) { must(t, os.Remove(path), write(path, "back")) },
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := tree(t, "a/conf")
			path := filepath.Join(root, "a", "conf", "dray.yaml")
			must(t, write(path, "at first"))
			w := start(t, Options{Poll: never}, path)
			for range 2 {
				tt.away(t, root, path)
				expect(t, w, path, "")
				tt.back(t, root, path)
				expect(t, w, path, "back")
			}
		})
	}
}

func pipe(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pipe")
	must(t, syscall.Mkfifo(path, 0o600))
	return path
}

// TestUnreadable is for others than root, whom nothing is forbidden.
func TestUnreadable(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root reads everything")
	}
	t.Parallel()
	path := filepath.Join(tree(t), "dray.yaml")
	must(t, write(path, "text"))
	w := start(t, Options{Poll: never}, path)
	must(t, os.Chmod(path, 0))
	expect(t, w, path, "")
	must(t, os.Chmod(path, 0o600))
	expect(t, w, path, "text")
}

// overwrite does not empty the file first, which could be seen.
func overwrite(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// TestSilent does what leaves the content as it is at all times.
func TestSilent(t *testing.T) {
	tests := map[string]func(t *testing.T, path string){
		"the same content in place":     func(t *testing.T, path string) { must(t, overwrite(path, "text")) },
		"the same content in a new one": func(t *testing.T, path string) { must(t, write(path+".tmp", "text"), os.Rename(path+".tmp", path)) },
		"another mode":                  func(t *testing.T, path string) { must(t, os.Chmod(path, 0o400)) },
		"another file":                  func(t *testing.T, path string) { must(t, write(path+"~", "other"), os.Remove(path+"~")) },
		"a symlink to the same":         func(t *testing.T, path string) { must(t, os.Link(path, path+".1"), turn(path+".1", path)) },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(tree(t), "dray.yaml")
			must(t, write(path, "text"))
			w := start(t, brisk(), path)
			change(t, path)
			silent(t, w)
			must(t, write(path, "new"))
			expect(t, w, path, "new")
		})
	}
}
