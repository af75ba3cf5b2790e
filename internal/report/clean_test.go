package report

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestOneLine(t *testing.T) {
	tests := map[string]struct{ in, want string }{
		"plain":            {"sha256:abc not found", "sha256:abc not found"},
		"empty":            {"", ""},
		"unicode":          {"größer → 日本 é 🐳", "größer → 日本 é 🐳"},
		"newlines":         {"\r\na\r\n\tb \n\n c\n", "a b c"},
		"escape":           {"\x1b[31mred\x1b[0m", "\uFFFD[31mred\uFFFD[0m"},
		"8-bit escape":     {"\u009b31m", "\uFFFD31m"},
		"raw 8-bit":        {"a\x9bb", "a\uFFFDb"},
		"delete, NUL":      {"a\x7f\x00b", "a\uFFFD\uFFFDb"},
		"direction":        {"a\u202eb\u2066c\u200fd", "a\uFFFDb\uFFFDc\uFFFDd"},
		"line separators":  {"a\u2028b\u2029c\u0085d", "a b c d"},
		"exactly enough":   {strings.Repeat("é", maxText), strings.Repeat("é", maxText)},
		"too long":         {strings.Repeat("é", maxText+1), strings.Repeat("é", maxText) + "…"},
		"ends in a space":  {strings.Repeat("a", maxText) + " ", strings.Repeat("a", maxText)},
		"breaks at space":  {strings.Repeat("a", maxText-1) + " bc", strings.Repeat("a", maxText-1) + "…"},
		"space as content": {strings.Repeat("a", maxText-2) + "\n\nb", strings.Repeat("a", maxText-2) + " b"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := Line(test.in); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func FuzzOneLine(f *testing.F) {
	for _, seed := range []string{"", hostile, strings.Repeat("a \n", 400), "\u2028\ufeff\xed\xa0\x80"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := Line(s)
		if !utf8.ValidString(got) {
			t.Errorf("%q is not UTF-8", got)
		}
		if n := utf8.RuneCountInString(got); n > maxText+1 {
			t.Errorf("%d characters", n)
		}
		if strings.TrimSpace(got) != got || strings.Contains(got, "\n") {
			t.Errorf("%q is not one trimmed line", got)
		}
		checkHarmless(t, got)
		if utf8.RuneCountInString(got) <= maxText && Line(got) != got {
			t.Errorf("cleaning %q again gives %q", got, Line(got))
		}
	})
}
