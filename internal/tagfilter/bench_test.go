package tagfilter

import (
	"fmt"
	"testing"
)

// manyTags returns 10,000 tags as a busy repository has them: releases, pre-releases, variants, dates and commits.
func manyTags() []string {
	tags := make([]string, 0, 10_000)
	for i := range 2_000 {
		major, minor, patch := i/400, i/20%20, i%20
		tags = append(tags,
			fmt.Sprintf("v%d.%d.%d", major, minor, patch),
			fmt.Sprintf("%d.%d.%d-rc%d", major, minor, patch, i%3),
			fmt.Sprintf("%d.%d.%d-alpine", major, minor, patch),
			fmt.Sprintf("2024%04d", i),
			fmt.Sprintf("sha-%040x", i),
		)
	}
	return tags
}

func BenchmarkSelect(b *testing.B) {
	cases := []struct {
		name string
		spec Spec
	}{
		{"every", Spec{Include: []string{"*"}}},
		{"literals", Spec{Include: []string{"v1.2.3", "latest"}}},
		{"glob+semver+newest", Spec{Include: []string{"{v,}[0-9]*", "latest"}, Exclude: []string{"*-rc*"}, Semver: ">= 2.3, < 5", Newest: 10}},
		{"suffix+newest", Spec{Suffix: "-alpine", Newest: 10}},
	}
	tags := manyTags()
	for _, tc := range cases {
		b.Run(tc.name, func(b *testing.B) {
			filter := mustCompile(b, tc.spec)
			b.ReportAllocs()
			for b.Loop() {
				filter.Select(tags)
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	spec := Spec{Include: []string{"3.*", "latest"}, Exclude: []string{"*_rc*"}, Semver: ">= 3.19", Newest: 5}
	b.ReportAllocs()
	for b.Loop() {
		mustCompile(b, spec)
	}
}
