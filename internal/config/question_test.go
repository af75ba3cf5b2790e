package config

import (
	"fmt"
	"strings"
	"testing"
)

// A question mark within a word is one of YAML 1.2's plain characters, whatever it stands in.
func TestQuestionMarksNeedNoQuotes(t *testing.T) {
	rows := []struct{ platforms, tags, want string }{
		{"[linux/amd64, linux/arm64?]", "[v1]", "[linux/amd64 linux/arm64?] include v1"},
		{"[linux/arm64?,linux/amd64]", "[v1]", "[linux/arm64? linux/amd64] include v1"},
		{`["linux/arm64?", 'linux/amd64?']`, "[v?, 3.1?.x]", "[linux/arm64? linux/amd64?] include v?, 3.1?.x"},
		{"{want: [linux/arm64?, linux/amd64], missing: fail}", "{include: [3.??]}", "[linux/arm64? linux/amd64] include 3.??"},
		{"{want: [linux/arm64, linux/amd64], missing: skip}", "['?']", "[linux/arm64? linux/amd64?] include ?"},
		{"\n  - linux/arm64? # is it there?\n  - linux/amd64", "[\uE000x?]", "error"},
		{"\n  - linux/arm64? # is it there?\n  - linux/amd64", "\n  - v?", "[linux/arm64? linux/amd64] include v?"},
	}
	for _, row := range rows {
		text := "version: 1\nmappings:\n- source: a.io/x\n  target: b.io/x\n  platforms: " + row.platforms + "\n  tags: " + row.tags + "\n"
		cfg, err := Parse("dray.yaml", []byte(text), Options{})
		got := "error"
		if err == nil {
			got = fmt.Sprint(cfg.Mappings[0].Platforms, " ", cfg.Mappings[0].Tags)
		} else if strings.ContainsAny(err.Error(), "\uE000\uE001") && !strings.Contains(text, "\uE000") {
			t.Errorf("the error shows the stand-in: %v", err)
		}
		if got != row.want {
			t.Errorf("%s %s: %s, want %s (%v)", row.platforms, row.tags, got, row.want, err)
		}
	}
}
