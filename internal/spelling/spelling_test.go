package spelling

import (
	"slices"
	"strings"
	"testing"
)

func TestNearest(t *testing.T) {
	known := []string{"alpine", "library/alpine", "debian", "Ubuntu", "go", "x"}
	for word, want := range map[string][]string{
		"alpin": {"alpine", "library/alpine"}, "docker.io/library/alpine": {"alpine", "library/alpine"}, "debain": {"debian"}, "ubuntu": {"Ubuntu"},
		"og": {"go"}, "g": {"go", "x"}, "nothing-like": nil, "": {"x"}, strings.Repeat("alpine", 100): nil,
	} {
		if got := Nearest(word, known, 2); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
	if got := Nearest("alpine", known, 0); got != nil {
		t.Errorf("got %q, want none", got)
	}
}
