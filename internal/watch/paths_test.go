package watch

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWatchPaths(t *testing.T) {
	root := tree(t, "conf/v1", "other/deep")
	at := func(name string) string { return filepath.Join(root, name) }
	must(t, write(at("conf/v1/dray.yaml"), ""), os.Symlink("v1", at("conf/..data")), os.Symlink("..data/dray.yaml", at("conf/dray.yaml")),
		os.Symlink(at("conf"), at("other/conf")), os.Symlink("loop", at("loop")), os.Symlink("../none/at/all", at("other/nowhere")),
		os.Symlink("other/deep", at("deep")))
	tests := map[string]struct {
		path string
		want watchPaths
	}{
		"a file":                   {"conf/v1/dray.yaml", watchPaths{"conf/v1": true, "conf/v1/dray.yaml": false}},
		"by two symlinks":          {"conf/dray.yaml", watchPaths{"conf": true, "conf/v1": true, "conf/v1/dray.yaml": false}},
		"by three":                 {"other/conf/dray.yaml", watchPaths{"other": true, "conf": true, "conf/v1": true, "conf/v1/dray.yaml": false}},
		"not there":                {"conf/v1/none", watchPaths{"conf/v1": true}},
		"folders not there":        {"conf/none/at/all", watchPaths{"conf": true}},
		"a symlink to nowhere":     {"other/nowhere", watchPaths{"other": true, "": true}},
		"a loop":                   {"loop", watchPaths{"": true}},
		"below a file":             {"conf/v1/dray.yaml/x", watchPaths{"conf/v1": true, "conf/v1/dray.yaml": false}},
		"a folder":                 {"conf/v1", watchPaths{"conf/v1": true}},
		"up from a real folder":    {"conf/v1/../none", watchPaths{"conf": true}},
		"up from behind a symlink": {"deep/../none", watchPaths{"": true, "other": true}},
		"dots and slashes":         {"conf//./v1/none", watchPaths{"conf/v1": true}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, want := watchPaths{}, watchPaths{}
			got.add(root + "/" + tt.path)
			for name, folder := range tt.want {
				want[at(name)] = folder
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestRelative(t *testing.T) {
	t.Chdir(tree(t, "conf"))
	must(t, write("conf/dray.yaml", "0"))
	w := start(t, brisk(), "conf/dray.yaml")
	must(t, write("conf/dray.yaml", "1"))
	expect(t, w, "conf/dray.yaml", "1")
}
