package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/draysync/dray/internal/config"
	"github.com/draysync/dray/internal/convert"
	"github.com/draysync/dray/internal/plan"
)

// TestConvertedConfigsLoad has the real loader and compiler read what is made of the configs of other tools.
func TestConvertedConfigsLoad(t *testing.T) {
	folder := filepath.Join("..", "..", "internal", "convert", "testdata")
	golden, err := filepath.Glob(filepath.Join(folder, "*.golden.yaml"))
	if err != nil || len(golden) < 15 {
		t.Fatalf("%d examples, %v", len(golden), err)
	}
	for _, path := range golden {
		t.Run(filepath.Base(path), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			loads(t, filepath.Base(path), data)
		})
	}
}

// loads fails for what dray cannot read. Every variable and every file is there, and holds what could stand in a host's name.
func loads(t *testing.T, name string, data []byte) {
	t.Helper()
	cfg, err := config.Parse(name, data, config.Options{
		Getenv: func(name string) (string, bool) {
			if name == "image" {
				return "value.example:tag", true
			}
			return "value.example", true
		},
		ReadFile: func(string) ([]byte, error) { return []byte("value.example\n"), nil },
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	if _, err := plan.Compile(cfg); err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
}

// FuzzConvertedConfigLoads looks for inputs of which a config is made that does not load.
func FuzzConvertedConfigLoads(f *testing.F) {
	folder := filepath.Join("..", "..", "internal", "convert", "testdata")
	entries, err := os.ReadDir(folder)
	if err != nil {
		f.Fatal(err)
	}
	for _, entry := range entries {
		if entry.IsDir() || strings.Contains(entry.Name(), ".golden.") {
			continue
		}
		data, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		if err != nil {
			f.Fatal(err)
		}
		target := ""
		if strings.HasPrefix(entry.Name(), "skopeo") {
			target = "target.example/mirror"
		}
		f.Add(data, target)
	}
	f.Fuzz(func(t *testing.T, data []byte, target string) {
		result, err := convert.Convert([]convert.File{{Name: "f.yml", Data: data}}, convert.Options{Target: target})
		if err != nil {
			return
		}
		_, err = config.Parse("f.yml", result.YAML, config.Options{
			Getenv:   func(string) (string, bool) { return "value.example", true },
			ReadFile: func(string) ([]byte, error) { return []byte("value.example\n"), nil },
		})
		if err != nil && !strings.Contains(string(result.YAML), "${") {
			t.Fatalf("%v\n%s", err, result.YAML)
		}
	})
}

func TestConvert_json(t *testing.T) {
	a := dray(t, "convert", "-o", "json", filepath.Join("..", "..", "internal", "convert", "testdata", "regsync-full.yaml"))
	var doc converted
	if err := json.Unmarshal([]byte(a.out), &doc); err != nil || a.code != exitDone {
		t.Fatalf("%v, %+v", err, a)
	}
	loads(t, "json", []byte(doc.Config))
	backup := func(n convertedNote) bool {
		return n.Key == "sync[2].backup" && n.Line > 0 && strings.HasSuffix(n.File, "regsync-full.yaml")
	}
	if doc.From != "regsync" || !slices.ContainsFunc(doc.Notes, backup) {
		t.Errorf("%+v", doc)
	}
}
