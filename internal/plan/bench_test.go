package plan

import (
	"fmt"
	"strings"
	"testing"

	"github.com/draysync/dray/internal/config"
)

// many returns a config of so many mappings, each to a repository of its own.
func many(b *testing.B, n int) *config.Config {
	b.Helper()
	var text strings.Builder
	text.WriteString("version: 1\nmappings:\n")
	for i := range n {
		fmt.Fprintf(&text, "- {name: m%[1]d, source: ghcr.io/acme/team-%[1]d/app, target: registry.corp.example:5000/mirror/team-%[1]d/app, tags: ['%[2]d', latest]}\n", i, i%7)
	}
	cfg, err := config.Parse("dray.yaml", []byte(text.String()), config.Options{})
	if err != nil {
		b.Fatal(err)
	}
	return cfg
}

func BenchmarkCompile(b *testing.B) {
	cfg := many(b, 10_000)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Compile(cfg); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGroups(b *testing.B) {
	jobs, err := Compile(many(b, 10_000))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if groups := Groups(jobs); len(groups) != len(jobs) {
			b.Fatalf("%d groups", len(groups))
		}
	}
}
