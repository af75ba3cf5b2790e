package tagfilter

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// mistake is what a test expects of an *Error: its place, and a part of its text.
type mistake struct {
	field string
	index int
	text  string
}

func TestCompileRefuses(t *testing.T) {
	include := func(entries ...string) Spec { return Spec{Include: entries} }
	long := strings.Repeat("a", maxPattern)
	cases := []struct {
		name string
		spec Spec
		want []mistake
	}{
		{"nothing", Spec{}, []mistake{{"include", -1, `write ["*"] to mean every tag`}}},
		{"only exclude", Spec{Exclude: list("a")}, []mistake{{"include", -1, "every tag but the excluded ones"}}},
		{"an empty entry", include("a", ""), []mistake{{"include", 1, "is empty; remove it"}}},
		{"an entry too long", include(long + "*"), []mistake{{"include", 0, "has 1025 bytes, more than 1024"}}},
		{"a literal too long", include(long[:129]), []mistake{{"include", 0, "has 129 characters and a tag has 128 at most"}}},
		{"a literal with a hyphen first", include("-rc"), []mistake{{"include", 0, `write "*-rc" to allow any prefix`}}},
		{"a literal with a dot first", include(".a"), []mistake{{"include", 0, "starts with '.'"}}},
		{"a repository as a literal", include("foo/bar"), []mistake{{"include", 0, "write the tag alone"}}},
		{"a list as a literal", include("3.18,3.19"), []mistake{{"include", 0, "one entry for each tag"}}},
		{"another alphabet", include("ä"), []mistake{{"include", 0, "use letters, digits"}}},
		{"bytes that are no text", include("a\xff"), []mistake{{"include", 0, "cannot be in a tag"}}},
		{"a newline", include("a\n"), []mistake{{"include", 0, `"a\n" contains '\n'`}}},
		{"negation", include("!edge"), []mistake{{"include", 0, "put what you do not want into exclude"}}},
		{"an expression without slashes", include("^v1$"), []mistake{{"include", 0, "write /expression/"}}},
		{"a repository in a glob", include("foo/*"), []mistake{{"include", 0, "write the tag alone"}}},
		{"a space in a glob", include("a *"), []mistake{{"include", 0, "one entry for each tag"}}},
		{"an escape in a glob", include(`a\*`), []mistake{{"include", 0, "write /expression/"}}},
		{"a glob with a hyphen first", include("-*"), []mistake{{"include", 0, `write "*-*" to allow`}}},
		{"an open bracket", include("3.[0-9"), []mistake{{"include", 0, `has a "[" without its "]"`}}},
		{"a closed bracket", include("3.0-9]"), []mistake{{"include", 0, "it closes nothing"}}},
		{"empty brackets", include("3.[]"), []mistake{{"include", 0, "empty brackets"}}},
		{"brackets that negate nothing", include("3.[!]"), []mistake{{"include", 0, "empty brackets"}}},
		{"brackets that negate otherwise", include("3.[^a]"), []mistake{{"include", 0, "write [!a-z]"}}},
		{"brackets backwards", include("3.[9-0]"), []mistake{{"include", 0, "runs backwards; write 0-9"}}},
		{"brackets of no tag", include("3.[/]"), []mistake{{"include", 0, "cannot be in a tag"}}},
		{"an open brace", include("{a,b"), []mistake{{"include", 0, `has a "{" without its "}"`}}},
		{"a closed brace", include("ab}"), []mistake{{"include", 0, "it closes nothing"}}},
		{"a list that ends in a brace", include("a,b}"), []mistake{{"include", 0, "one entry for each tag"}}},
		{"empty braces", include("a{}"), []mistake{{"include", 0, "empty braces"}}},
		{"a comma after braces", include("{a,b},c"), []mistake{{"include", 0, "one entry for each tag"}}},
		{"braces too deep", include(strings.Repeat("{", 17) + "a" + strings.Repeat("}", 17)), []mistake{{"include", 0, "more than 16 braces"}}},
		{"half an expression", include("/a"), []mistake{{"include", 0, "does not end in it"}}},
		{"a slash", include("/"), []mistake{{"include", 0, "does not end in it"}}},
		{"no expression", include("//"), []mistake{{"include", 0, "is an empty expression"}}},
		{"an open parenthesis", include("/(a/"), []mistake{{"include", 0, "missing closing )"}}},
		{"parentheses that only the anchors balance", include("/a)|(b/"), []mistake{{"include", 0, "unexpected )"}}},
		{"look-ahead", include("/a(?=b)/"), []mistake{{"include", 0, "look-around"}}},
		{"one repetition too large", include("/a{1001}/"), []mistake{{"include", 0, "repeats more than 1000 times"}}},
		{"nested repetitions", include("/((a{100}){100}){100}/"), []mistake{{"include", 0, "repeats more than 1000 times"}}},
		{"many repetitions", include("/" + strings.Repeat("a{1000}", 9) + "/"), []mistake{{"include", 0, "more than 4096"}}},
		{"a repetition of many", include("/(" + strings.Repeat("a", 50) + "){100}/"), []mistake{{"include", 0, "more than 4096"}}},
		{"an open repetition of many", include("/(?:" + strings.Repeat("[ab]", 50) + "){100,}/"), []mistake{{"include", 0, "more than 4096"}}},
		{"an optional repetition of many", include("/(?:" + strings.Repeat("[ab]", 50) + "){0,100}/"), []mistake{{"include", 0, "more than 4096"}}},
		{"exclude is checked as well", Spec{Include: list("*"), Exclude: list("a foo/bar [")}, []mistake{{"exclude", 1, "write the tag alone"}, {"exclude", 2, `has a "["`}}},

		{"no range", Spec{Semver: "newest"}, []mistake{{"semver", -1, `"newest" is not a version range; write one such as`}}},
		{"half a range", Spec{Semver: ">="}, []mistake{{"semver", -1, "not a version range"}}},
		{"a blank range", Spec{Semver: " "}, []mistake{{"semver", -1, "not a version range"}}},
		{"a version of four numbers", Spec{Semver: ">= 1.2.3.4, < 2"}, []mistake{{"semver", -1, "four numbers, and semantic versions have three; select such tags by include"}}},
		{"a range too long", Spec{Semver: strings.Repeat(">=1 ", 200)}, []mistake{{"semver", -1, "too long (max 512 bytes); shorten it"}}},
		{"a range of too many", Spec{Semver: strings.Repeat("1||", 40) + "1"}, []mistake{{"semver", -1, "too many constraint groups"}}},
		{"a suffix that is a glob", Spec{Suffix: "*-alpine"}, []mistake{{"suffix", -1, "write the ending itself"}}},
		{"a suffix of no tag", Spec{Suffix: "/a"}, []mistake{{"suffix", -1, "'/' cannot be in a tag"}}},
		{"a suffix in another alphabet", Spec{Suffix: "-ä"}, []mistake{{"suffix", -1, "'ä' cannot be in a tag"}}},
		{"a suffix too long", Spec{Suffix: long[:128]}, []mistake{{"suffix", -1, "leaves no room"}}},
		{"newest below zero", Spec{Newest: -1}, []mistake{{"newest", -1, "-1 is negative"}}},

		{"an unknown order", Spec{Newest: 1, Sort: "age"}, []mistake{{"sort", -1, "is not one of semver, date, numeric"}}},
		{"an order of nothing", Spec{Include: list("*"), Sort: "date"}, []mistake{{"sort", -1, "add newest"}}},
		{"min below zero", Spec{Newest: 1, Min: ptr(-1)}, []mistake{{"min", -1, "0 to allow none"}}},
		{"more than newest keeps", Spec{Include: list("* a"), Newest: 2, Min: ptr(4)}, []mistake{{"min", -1, "are impossible"}}},

		{"only literals with semver", Spec{Include: list("a"), Semver: "1"}, []mistake{{"semver", -1, `add a pattern such as "*" to include`}}},
		{"only literals with all", Spec{Include: list("a b"), Semver: "1", Suffix: "-a", Newest: 1}, []mistake{
			{"semver", -1, "remove semver"}, {"suffix", -1, "remove suffix"}, {"newest", -1, "remove newest"}}},
		{"a broken pattern is no literal", Spec{Include: list("a ["), Newest: 1}, []mistake{{"include", 1, `has a "["`}}},
		{"every mistake at once", Spec{Include: list("* [ a/b"), Exclude: list("{"), Semver: "x1", Suffix: "?", Newest: -2}, []mistake{
			{"include", 1, "["}, {"include", 2, "/"}, {"exclude", 0, "{"}, {"semver", -1, "x1"}, {"suffix", -1, "?"}, {"newest", -1, "-2"}}},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			f, err := Compile(tc.spec)
			if f.Select(list("a 1")) != nil {
				t.Error("the filter of a refused spec chooses tags")
			}
			checkMistakes(t, tc.want, mistakes(t, err))
		})
	}
}

func ptr(n int) *int { return &n }

func checkMistakes(t *testing.T, want []mistake, got []*Error) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d mistakes, want %d: %v", len(got), len(want), got)
	}
	for i, w := range want {
		g := got[i]
		if g.Field != w.field || g.Index != w.index || !strings.Contains(g.Err.Error(), w.text) {
			t.Errorf("mistake %d: %s[%d] %q, want %s[%d] with %q", i, g.Field, g.Index, g.Err, w.field, w.index, w.text)
		}
		if text := g.Error(); len(text) > 500 || strings.ContainsAny(text, "\n\x00") {
			t.Errorf("mistake %d does not fit a line: %q", i, text)
		}
	}
}

// mistakes takes apart what Compile returned.
func mistakes(t *testing.T, err error) []*Error {
	t.Helper()
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("%v (%T) joins nothing", err, err)
	}
	var all []*Error
	for _, err := range joined.Unwrap() {
		e, ok := errors.AsType[*Error](err)
		if !ok {
			t.Fatalf("%v (%T) is no *Error", err, err)
		}
		all = append(all, e)
	}
	return all
}

func TestErrorSaysItsPlace(t *testing.T) {
	cause := errors.New("cause")
	got := []string{(&Error{Field: "exclude", Index: 2, Err: cause}).Error(), (&Error{Field: "newest", Index: -1, Err: cause}).Error()}
	if diff := cmp.Diff([]string{"exclude[2]: cause", "newest: cause"}, got); diff != "" {
		t.Error(diff)
	}
	if !errors.Is(&Error{Field: "newest", Err: cause}, cause) {
		t.Error("the cause is lost")
	}
}

func TestCompileKeepsNothingOfTheSpec(t *testing.T) {
	spec := Spec{Include: list("b a"), Exclude: list("c")}
	f := mustCompile(t, spec)
	if diff := cmp.Diff(Spec{Include: list("b a"), Exclude: list("c")}, spec); diff != "" {
		t.Errorf("Compile changed the spec (-before +after):\n%s", diff)
	}
	spec.Include[0], spec.Exclude[0] = "x", "a"
	if got := f.Select(list("a b x")); !cmp.Equal(got, list("a b")) {
		t.Errorf("a change of the spec reached the filter: %q", got)
	}
}

// The largest and the nastiest patterns must stay below the limit on steps. A matcher that takes exponential time
// would run into the time limit of the test.
func TestNastyPatternsEnd(t *testing.T) {
	patterns := []string{
		strings.Repeat("*a", maxPattern/2-1) + "*",
		strings.Repeat("{*a,*}", maxPattern/6),
		strings.Repeat("{,a}", maxPattern/4),
		strings.Repeat("[!b-z]", maxPattern/6),
		strings.Repeat("?", maxPattern),
		strings.Repeat("{a,", maxNesting) + "*a*" + strings.Repeat("}", maxNesting),
		"/[a-z0-9]{1,64}(-[a-z0-9]{1,64}){0,9}/",
		"/(a+)+(a*)*(a|a)*x/",
		"/" + strings.Repeat("(a*)*", 200) + "x/",
	}
	tag := strings.Repeat("a", maxTag)
	for _, p := range patterns {
		f := mustCompile(t, Spec{Include: []string{p}})
		for range 10 {
			f.Select([]string{tag, tag[:maxTag-1] + "b"})
		}
	}
}

func TestGlobToRE2(t *testing.T) {
	cases := map[string]string{
		"3.*":        `3\..*`,
		"a**b":       `a.*b`,
		"?_-":        `._-`,
		"[a-z_]":     `[\x61-\x7a\x5f-\x5f]`,
		"[!0]x":      `[^\x30-\x30]x`,
		"{a,{b,}c*}": `(?:a|(?:b|)c.*)`,
	}
	for glob, want := range cases {
		got, err := globToRE2(glob)
		if err != nil || got != want {
			t.Errorf("globToRE2(%q) = %q, %v; want %q", glob, got, err, want)
		}
		if _, err := regexp.Compile(got); err != nil {
			t.Error(err)
		}
	}
}

// TestIdentity: String is cut short, and the identity is not.
func TestIdentity(t *testing.T) {
	long := strings.Split(strings.Repeat("a,", 200)+"b", ",")
	specs := []Spec{
		{Include: []string{"a"}}, {Include: []string{"a", "b"}}, {Include: []string{"a,b", "/x/"}}, {Include: []string{`/a","b/`}}, {Include: []string{"*"}, Exclude: []string{"b"}},
		{Include: []string{"*"}}, {Newest: 1}, {Newest: 11}, {Semver: "1.x"}, {Semver: ">= 1"}, {Suffix: "-1"}, {Suffix: "-1", Newest: 1}, {Include: long}, {Include: long[:200]},
		{Include: []string{"1*"}, Semver: "1.x"}, {Newest: 1, Sort: "date"}, {Newest: 1, Sort: "numeric"}, {Newest: 1, Min: ptr(0)}, {Newest: 2, Min: ptr(2)},
	}
	seen := map[string]Spec{}
	for _, spec := range specs {
		id := spec.Identity()
		if other, taken := seen[id]; taken {
			t.Errorf("%+v has the identity of %+v: %s", spec, other, id)
		}
		seen[id] = spec
		if f, err := Compile(spec); err == nil && f.Identity() != id {
			t.Errorf("the filter's identity is %s, the spec's %s", f.Identity(), id)
		}
	}
	if a, b := (Spec{Newest: 3}).Identity(), (Spec{Newest: 3, Include: []string{"*"}, Exclude: []string{}}).Identity(); a != b {
		t.Errorf("what is left out and what is written make %s and %s", a, b)
	}
	if id := (Filter{}).Identity(); id != "" {
		t.Errorf("the zero filter has the identity %s", id)
	}
	if got, want := (Spec{Include: []string{"3.*"}, Semver: ">= 1", Newest: 2}).Identity(), `{"include":["3.*"],"semver":"\u003e= 1","newest":2}`; got != want {
		t.Errorf("the identity is %s, and was %s in earlier versions", got, want)
	}
}
