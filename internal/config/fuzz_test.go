package config

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// FuzzParse: whatever the file holds there is no panic, each error has its place and shows nothing from elsewhere, and a
// config that loads keeps the promises of its types.
func FuzzParse(f *testing.F) {
	files := append(glob(f, "testdata/valid/*.yaml", 1), glob(f, "testdata/broken/*.yaml", 1)...)
	for _, path := range append(files, glob(f, "testdata/broken/loader-only/*.yaml", 1)...) {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(everything))
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg, err := Parse("dray.yaml", data, world("dray.yaml"))
		if err == nil {
			consistent(t, cfg)
			return
		}
		errs, ok := errors.AsType[Errors](err)
		if !ok || len(errs) == 0 {
			t.Fatalf("the error is %T", err)
		}
		for _, e := range errs {
			if e.Pos.File != "dray.yaml" || e.Pos.Line < 1 || e.Pos.Col < 1 {
				t.Errorf("an error without a place: %#v", e)
			}
			if strings.Contains(e.Error(), hidden) || strings.ContainsAny(e.Error(), "\n\r") {
				t.Errorf("an error shows a value from elsewhere, or takes several lines: %q", e)
			}
		}
	})
}

// FuzzSchema: what loads, the schema accepts, so that no editor marks a good file. (Of what does not load, it sees a part.)
func FuzzSchema(f *testing.F) {
	for _, path := range glob(f, "testdata/valid/*.yaml", 1) {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(everything))
	schema := schemaOf(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := Parse("dray.yaml", data, world("dray.yaml")); err != nil {
			return
		}
		if err := schemaRefuses(t, schema, data); err != nil {
			t.Errorf("it loads, and the schema refuses it: %v", err)
		}
	})
}
