package tagfilter

import (
	"path"
	"slices"
	"strings"
	"testing"
)

func FuzzCompileSelect(f *testing.F) {
	tags := "3\n3.19\n3.19.0\nv3.19.0\n3.20.3\n3.21.0-rc1\n3.20-alpine\nlatest\nedge\n20240329\n../x\n3.19\n\n-a"
	f.Add("3.*\nlatest", "*_rc*", ">= 3.19", "", 2, tags)
	f.Add("*", "", "", "", 0, tags)
	f.Add("", "edge", ">= 3-0", "-alpine", 1, tags)
	f.Add("latest\nedge", "e*", "", "", 0, tags)
	f.Add("/3\\.\\d+/\n{a,{b,}c}*\n[!a-c]?", "[a-z]*", "", "", 3, tags)
	f.Add("/a)|(b/\n[\n{\n-\nfoo/bar\n!a", "/(x{1000})*/", "x1 |", "*", -1, tags)
	f.Add("*", "", ">=1.0.0-0 <2 || ~3", "", 4, "1.0.0-a.1\n1.0.0-a.99999999999999999999\n1.0.0-a\n1-1\n3.0\n3")
	f.Fuzz(func(t *testing.T, include, exclude, semver, suffix string, newest int, tags string) {
		spec := Spec{Include: lines(include), Exclude: lines(exclude), Semver: semver, Suffix: suffix, Newest: newest}
		filter, err := Compile(spec)
		if err != nil {
			for _, e := range mistakes(t, err) {
				if e.Err.Error() == "" || strings.Contains(e.Error(), "\n") {
					t.Errorf("%q is no message", e.Error())
				}
			}
			return
		}
		input := lines(tags)
		before := slices.Clone(input)
		got := filter.Select(input)
		if !slices.Equal(before, input) {
			t.Errorf("the input changed from %q to %q", before, input)
		}
		checkChoice(t, spec, input, got)
		checkStable(t, filter, input, got)
		checkKept(t, filter, input, got)
		checkLiterals(t, filter, input, got)
	})
}

// lines is the opposite of a join by newlines; "" is no line.
func lines(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, "\n")
}

func checkChoice(t *testing.T, spec Spec, input, got []string) {
	literals := 0
	for _, entry := range spec.Include {
		if isLiteral(entry) {
			literals++
		}
	}
	if spec.Newest > 0 && len(got) > spec.Newest+literals {
		t.Errorf("%d tags chosen, want at most %d and %d literals", len(got), spec.Newest, literals)
	}
	for i, tag := range got {
		if !isTag(tag) || !slices.Contains(input, tag) {
			t.Errorf("chose %q, which is not a valid tag of the input", tag)
		}
		if i > 0 && got[i-1] >= tag {
			t.Errorf("%q is not sorted, or twice there", got)
		}
		if slices.Contains(spec.Exclude, tag) {
			t.Errorf("chose %q, which is excluded", tag)
		}
		if !strings.HasSuffix(tag, spec.Suffix) && !slices.Contains(spec.Include, tag) {
			t.Errorf("chose %q, which does not end in %q", tag, spec.Suffix)
		}
	}
}

func checkStable(t *testing.T, filter Filter, input, got []string) {
	if again := filter.Select(got); !slices.Equal(again, got) {
		t.Errorf("of its own choice %q it chose %q", got, again)
	}
	other := slices.Sorted(slices.Values(input))
	if sorted := filter.Select(other); !slices.Equal(sorted, got) {
		t.Errorf("chose %q, and of the sorted input %q", got, sorted)
	}
	slices.Reverse(other)
	if reversed := filter.Select(append(other, input...)); !slices.Equal(reversed, got) {
		t.Errorf("chose %q, and of the input twice in another order %q", got, reversed)
	}
}

// checkKept drops what cannot be chosen beforehand: the choice is the same.
func checkKept(t *testing.T, filter Filter, input, got []string) {
	kept := slices.DeleteFunc(slices.Clone(input), func(tag string) bool { return !filter.CanChoose(tag) })
	if of := filter.Select(kept); !slices.Equal(of, got) {
		t.Errorf("chose %q, and of those that it can choose %q", got, of)
	}
}

func checkLiterals(t *testing.T, filter Filter, input, got []string) {
	literals, ok := filter.Literals()
	if !ok {
		return
	}
	if chosen := filter.Select(literals); !slices.Equal(chosen, literals) {
		t.Errorf("wants %q and chooses %q of them", literals, chosen)
	}
	for _, tag := range literals {
		if slices.Contains(input, tag) && !slices.Contains(got, tag) {
			t.Errorf("wants %q, which is there, and did not choose it", tag)
		}
	}
}

// FuzzGlob compares the globs that path.Match knows too.
func FuzzGlob(f *testing.F) {
	for _, glob := range []string{"*", "3.*", "v?.[0-9]*", "[!a-c-]x", "[-a]*?", "a*b*c"} {
		f.Add(glob, "3.19")
		f.Add(glob, "v1.2-abc")
		f.Add(glob, "-ax")
	}
	f.Fuzz(func(t *testing.T, glob, tag string) {
		if !isTag(tag) || isLiteral(glob) || strings.ContainsAny(glob, "/{}") || len(glob) > 100 {
			return
		}
		filter, err := Compile(Spec{Include: []string{glob}})
		if err != nil {
			return
		}
		theirs := strings.ReplaceAll(glob, "[!", "[^")
		want, err := path.Match(theirs, tag)
		if err != nil {
			return // path.Match refuses a hyphen at either end of a class
		}
		if got := len(filter.Select([]string{tag})) == 1; got != want {
			t.Errorf("%q matches %q: %v, path.Match: %v", glob, tag, got, want)
		}
	})
}
