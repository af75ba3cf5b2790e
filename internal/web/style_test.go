package web

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Text and what bounds a control can be told from what is behind it (WCAG 2.2, 1.4.3 and 1.4.11), in the light and in the dark.
func TestContrast(t *testing.T) {
	sheets := regexp.MustCompile(`(?s):root \{(.*?)\}`).FindAllStringSubmatch(string(styleText), -1)
	if len(sheets) != 2 {
		t.Fatalf("%d sets of colours", len(sheets))
	}
	for i, sheet := range sheets {
		colours := map[string]float64{}
		for _, c := range regexp.MustCompile(`--(\w+): (#[0-9a-f]+);`).FindAllStringSubmatch(sheet[1], -1) {
			colours[c[1]] = luminance(t, c[2])
		}
		for behind, over := range map[string]string{
			"paper": "ink soft good bad busy wait edge", "card": "ink soft good bad busy wait edge", "shade": "ink bad", "mark": "ink soft busy",
		} {
			for _, name := range strings.Fields(over) {
				want := 4.5
				if name == "edge" {
					want = 3
				}
				a, b := colours[name], colours[behind]
				if ratio := (max(a, b) + .05) / (min(a, b) + .05); a == 0 && b == 0 || ratio < want {
					t.Errorf("set %d: %s on %s has a contrast of %.2f, want %.1f", i, name, behind, ratio, want)
				}
			}
		}
	}
}

// luminance is the relative luminance of a colour as WCAG defines it.
func luminance(t *testing.T, colour string) float64 {
	t.Helper()
	hex := colour[1:]
	if len(hex) == 3 {
		hex = string([]byte{hex[0], hex[0], hex[1], hex[1], hex[2], hex[2]})
	}
	sum := 0.0
	for i, weight := range []float64{.2126, .7152, .0722} {
		n, err := strconv.ParseUint(hex[2*i:2*i+2], 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		c := float64(n) / 255
		if c <= .04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+.055)/1.055, 2.4)
		}
		sum += weight * c
	}
	return sum
}
