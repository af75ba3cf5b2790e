package tagfilter

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func mustCompile(t testing.TB, spec Spec) Filter {
	t.Helper()
	f, err := Compile(spec)
	if err != nil {
		t.Fatalf("Compile(%+v): %v", spec, err)
	}
	return f
}

// list splits words, so that tables stay readable.
func list(words string) []string { return strings.Fields(words) }

func TestSelect(t *testing.T) {
	alpine := "3 3.18 3.18.12 3.19 3.19.0 3.19.7 3.20 3.20.3 3.20.0_rc1 3.21.0-rc1 3.21 edge latest 20240329 20240807"
	cases := []struct {
		name string
		spec Spec
		tags string
		want string
	}{
		{"one literal", Spec{Include: list("latest")}, alpine, "latest"},
		{"literals are case-sensitive", Spec{Include: list("Latest")}, alpine, ""},
		{"a literal that is not there", Spec{Include: list("latest nightly")}, alpine, "latest"},
		{"a dot in a literal is a dot", Spec{Include: list("3.18")}, "3.18 3x18", "3.18"},
		{"a literal twice", Spec{Include: list("edge edge")}, alpine, "edge"},
		{"an excluded literal", Spec{Include: list("edge latest"), Exclude: list("edge")}, alpine, "latest"},
		{"a literal excluded by a glob", Spec{Include: list("edge latest"), Exclude: list("e*")}, alpine, "latest"},
		{"every tag", Spec{Include: list("*")}, "b a _c", "_c a b"},
		{"every tag, spelled twice", Spec{Include: list("**")}, "b a", "a b"},
		{"star", Spec{Include: list("3.19*")}, alpine, "3.19 3.19.0 3.19.7"},
		{"star can stand for nothing", Spec{Include: list("3*3")}, "33 3.3 3", "3.3 33"},
		{"a dot in a glob is a dot", Spec{Include: list("3.1?")}, "3.18 3x18 3.1", "3.18"},
		{"question mark is one character", Spec{Include: list("v?")}, "v v1 v12", "v1"},
		{"star and question mark", Spec{Include: list("v*?")}, "v v1 v12", "v1 v12"},
		{"class", Spec{Include: list("3.[0-8a]")}, "3.1 3.9 3.a 3.b 3.", "3.1 3.a"},
		{"negated class", Spec{Include: list("3.[!0-8a]")}, "3.1 3.9 3.a 3.b 3.", "3.9 3.b"},
		{"hyphens in a class", Spec{Include: list("x[a-c-]y")}, "x-y xby xdy", "x-y xby"},
		{"a hyphen last in a class", Spec{Include: list("x[a-]y")}, "x-y xay xby", "x-y xay"},
		{"a hyphen first in a class", Spec{Include: list("x[-a]y")}, "x-y xay xby", "x-y xay"},
		{"braces", Spec{Include: list("{edge,3.2?}")}, alpine, "3.20 3.21 edge"},
		{"nested braces", Spec{Include: list("3.{18{,.12},2{0,1}}")}, alpine, "3.18 3.18.12 3.20 3.21"},
		{"one alternative", Spec{Include: list("{edge}")}, alpine, "edge"},
		{"globs stand for whole tags", Spec{Include: list("[e]dge")}, "edge edges ledge", "edge"},
		{"braces stand for whole tags", Spec{Include: list("{a,b}")}, "a b ax xb", "a b"},
		{"expression", Spec{Include: list(`/3\.\d+/`)}, alpine, "3.18 3.19 3.20 3.21"},
		{"an expression stands for whole tags", Spec{Include: list("/a|b/")}, "a b ax xb", "a b"},
		{"an expression with anchors of its own", Spec{Include: list("/^a$/")}, "a ab", "a"},
		{"an expression with flags", Spec{Include: list("/(?i)EDGE/")}, alpine, "edge"},
		{"several patterns", Spec{Include: list("e* l*")}, alpine, "edge latest"},
		{"exclude by expression", Spec{Include: list("3*"), Exclude: list(`/.*(_rc|-rc|\.\d+)\d*/`)}, alpine, "3"},

		{"semver", Spec{Semver: ">= 3.19, < 3.21"}, alpine, "3.19 3.19.0 3.19.7 3.20 3.20.3"},
		{"semver with an include", Spec{Include: list("3.?*"), Semver: "< 3.19"}, alpine + " 2.9", "3.18 3.18.12"},
		{"pre-releases only where the range names one", Spec{Semver: ">= 3.21-0"}, alpine, "3.21 3.21.0-rc1"},
		{"a long pre-release of a short version", Spec{Semver: ">= 3-0"}, "3-alpine 2-alpine", "3-alpine"},
		{"semver does not narrow literals", Spec{Include: list("* edge 3"), Semver: ">= 3.21"}, alpine, "3 3.21 edge"},
		{"v before a version", Spec{Semver: "^1.2"}, "v1.2.3 v1.3 v2 version v", "v1.2.3 v1.3"},
		{"no version", Spec{Semver: "*"}, "1.2.3.4.5 1.2_3_4 1.2_ 1. V1 1 01.02 1.2.3.x", "01.02 1"},
		{"dates are no versions", Spec{Semver: ">= 1-0"}, "20240329 v20240329 20240329-1 100000 99999 2024.03.29", "2024.03.29 99999"},
		{"a number too large for a version", Spec{Semver: "*"}, "99999999999999999999.1 1.1", "1.1"},

		{"newest", Spec{Newest: 2}, alpine, "3.20.3 3.21"},
		{"newest compares numbers", Spec{Newest: 2}, "3.9 3.10 3.8", "3.10 3.9"},
		{"newest of fewer", Spec{Newest: 9}, "1.0 2.0 edge", "1.0 2.0"},
		{"newest without semver drops pre-releases", Spec{Newest: 1}, "3.20 3.21-rc1", "3.20"},
		{"newest with a range of pre-releases", Spec{Semver: ">= 3-0", Newest: 1}, "3.20 3.21-rc1", "3.21-rc1"},
		{"a release is newer than its pre-releases", Spec{Semver: ">= 3-0", Newest: 2}, "3.21 3.21-rc1 3.21-rc2 3.21-rc10", "3.21 3.21-rc2"},
		{"excluded tags take no place", Spec{Exclude: list("3.21"), Newest: 1}, alpine, "3.20.3"},
		{"tags there twice take one place", Spec{Newest: 2}, "3 3 2 1", "2 3"},
		{"literals take no place", Spec{Include: list("* 1 edge"), Newest: 1}, "1 2 3 edge", "1 3 edge"},
		{"a literal can be the newest too", Spec{Include: list("* 3"), Newest: 1}, "1 2 3", "3"},
		{"equal versions: the longest spelling first", Spec{Newest: 2}, "3.20 3.20.0 v3.20.0 3.20.00", "3.20.00 v3.20.0"},
		{"equal versions: then byte order", Spec{Newest: 1}, "v3 3.0 v3.0 03.0", "03.0"},
		{"all together", Spec{Include: list("3.* latest"), Exclude: list("*_rc*"), Semver: ">= 3.19", Newest: 3}, alpine, "3.20 3.20.3 3.21 latest"},

		{"suffix alone keeps what ends so", Spec{Suffix: "-alpine"}, "1-alpine edge-alpine 1 1-alpine3", "1-alpine edge-alpine"},
		{"suffix and newest", Spec{Suffix: "-alpine", Newest: 2}, "1.9-alpine 1.10-alpine 1.11 edge-alpine 1.2-alpine", "1.10-alpine 1.9-alpine"},
		{"suffix and semver", Spec{Suffix: "-alpine", Semver: ">= 1.10"}, "1.9-alpine 1.10-alpine 1.11", "1.10-alpine"},
		{"a pre-release before a suffix", Spec{Suffix: "-alpine", Semver: "*"}, "1-rc1-alpine 1-alpine -alpine", "1-alpine"},
		{"suffix does not narrow literals", Spec{Include: list("* edge"), Suffix: "-alpine"}, "1-alpine edge 2", "1-alpine edge"},
		{"a date before a suffix", Spec{Suffix: "-slim", Newest: 1}, "20240329-slim 12-slim", "12-slim"},
		{"without suffix it is a pre-release", Spec{Newest: 1}, "3.20-alpine 3.19", "3.19"},

		{"Helm's build metadata", Spec{Semver: ">= 104.1.1"}, "104.1.0_up57.0.2 104.1.1_up57.0.3", "104.1.1_up57.0.3"},
		{"build metadata is a release", Spec{Newest: 1}, "1.2.3_a.1 1.2.2", "1.2.3_a.1"},
		{"numbers in build metadata", Spec{Newest: 1}, "1.2.3_up9.0 1.2.3_up10.0", "1.2.3_up10.0"},
		{"a pre-release with build metadata", Spec{Semver: ">= 1-0", Newest: 1}, "1.2.3-rc1_up1 1.2.3-rc2_up1", "1.2.3-rc2_up1"},
		{"a pre-release with build metadata is one", Spec{Newest: 1}, "1.2.3-rc1_up1 1.2.2_up1", "1.2.2_up1"},
		{"v before build metadata", Spec{Semver: "~1.30"}, "v1.30.4_k3s1 v1.31.0_k3s1", "v1.30.4_k3s1"},
		{"Alpine's candidates are pre-releases", Spec{Newest: 1}, "3.20.0_rc2 3.19.0_alpha1 3.18.0_beta 3.17.9", "3.17.9"},
		{"Alpine's candidates in a range of pre-releases", Spec{Semver: ">= 3.20-0", Newest: 1}, "3.20.0_rc1 3.20.0_rc2", "3.20.0_rc2"},
		{"four parts", Spec{Newest: 2}, "10.0.17763.5458 10.0.17763.5576 10.0.17763.999", "10.0.17763.5458 10.0.17763.5576"},
		{"four parts in a range", Spec{Semver: ">= 10.0.17763, < 10.0.20348"}, "10.0.17763.5458 10.0.20348.2322 10.0.17763", "10.0.17763 10.0.17763.5458"},
		{"the fourth part goes before the pre-release", Spec{Semver: ">= 1-0", Newest: 1}, "1.2.3.4-rc1 1.2.3.5-rc0", "1.2.3.5-rc0"},
		{"v before four parts", Spec{Newest: 1}, "v1.2.3.4 v1.2.3.10", "v1.2.3.10"},
		{"four parts and a suffix", Spec{Suffix: "-amd64", Newest: 1}, "10.0.1.2-amd64 10.0.1.3-amd64 10.0.1.4-arm64", "10.0.1.3-amd64"},
		{"a fourth part that is none", Spec{Semver: "*"}, "1.2.3.x 1.2.3. 1.2.3.99999999999999999999 1.2.3", "1.2.3"},

		{"the latest day", Spec{Include: list("20*"), Sort: "date", Newest: 2}, "20240329 20240807 20231201", "20240329 20240807"},
		{"days with hyphens", Spec{Sort: "date", Newest: 1}, "2024-03-29 2024-11-02 2024-9-30 latest", "2024-11-02"},
		{"days with dots", Spec{Sort: "date", Newest: 1}, "2024.3.9 2024.03.10", "2024.03.10"},
		{"a day behind a v, before a commit", Spec{Sort: "date", Newest: 1}, "v20240115-a1b2c3 v20240116-000000", "v20240116-000000"},
		{"a day within a name", Spec{Sort: "date", Newest: 1}, "build-20240115 nightly-20240116", "nightly-20240116"},
		{"the second build of a day", Spec{Sort: "date", Newest: 1}, "2024-01-15.9 2024-01-15.10 2024-01-15", "2024-01-15.10"},
		{"a day with its time", Spec{Sort: "date", Newest: 1}, "202401151200 202401151159", "202401151200"},
		{"what is no day drops out", Spec{Sort: "date", Newest: 9}, "20241332 20240230 30240101 1.2.3 20240229", "20240229"},
		{"days and a suffix", Spec{Suffix: "-slim", Sort: "date", Newest: 1}, "20240101-slim 20240201 20230101-slim", "20240101-slim"},
		{"literals beside days", Spec{Include: list("20* latest"), Sort: "date", Newest: 1}, "20240101 20240201 latest", "20240201 latest"},
		{"numbers", Spec{Include: list("build-*"), Sort: "numeric", Newest: 2}, "build-9 build-10 build-101 build-x", "build-10 build-101"},
		{"numbers whatever stands before", Spec{Sort: "numeric", Newest: 1}, "v9 r10 x", "r10"},
		{"numbers of several parts", Spec{Sort: "numeric", Newest: 1}, "1.2.3.4.5 1.2.3.4.10 1.2.3", "1.2.3.4.10"},
		{"zeros before numbers", Spec{Sort: "numeric", Newest: 1}, "b-0009 b-10", "b-10"},
		{"sort by semver is the default", Spec{Sort: "semver", Newest: 1}, "1.9 1.10", "1.10"},
		{"a range and days", Spec{Semver: ">= 2024", Sort: "date", Newest: 1}, "2024.01.02 2024.01.03 2023.12.31 20250101", "2024.01.03"},

		{"no tags", Spec{Include: list("*")}, "", ""},
		{"the list that needs no sorting out", Spec{Include: list("b a")}, "b a b", "a b"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			tags := list(tc.tags)
			before := slices.Clone(tags)
			got := mustCompile(t, tc.spec).Select(tags)
			if diff := cmp.Diff(list(tc.want), append([]string{}, got...)); diff != "" {
				t.Errorf("Select (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, tags); diff != "" {
				t.Errorf("the input changed (-before +after):\n%s", diff)
			}
			slices.Reverse(tags)
			if diff := cmp.Diff(got, mustCompile(t, tc.spec).Select(tags)); diff != "" {
				t.Errorf("another order of the input chooses otherwise (-first +reversed):\n%s", diff)
			}
		})
	}
}

func TestSelectNeverTakesAnInvalidTag(t *testing.T) {
	long := strings.Repeat("a", maxTag)
	tags := []string{"", ".", "..", "../x", "-a", ".a", "a/b", "a b", "a:b", "a\n", "a\x00", "ä", "a+b", long + "a", strings.Repeat("a", 10<<10), long, "ok"}
	for _, spec := range []Spec{{Include: list("*")}, {Include: []string{`/(?s).*/`}}, {Include: list("* /.*/ ok")}} {
		if diff := cmp.Diff([]string{long, "ok"}, mustCompile(t, spec).Select(tags)); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", spec, diff)
		}
	}
}

// What a tag such as sha256-<hex> stands for, an image or a list of referrers, its name does not tell.
func TestPatternsChooseWhateverItsName(t *testing.T) {
	hex := strings.Repeat("0af9", 16)
	tags := []string{"sha256-" + hex, "sha256-" + hex + ".sig", "sha512-" + hex, "v1"}
	for _, include := range []string{"*", "/.*/"} {
		if diff := cmp.Diff(tags, mustCompile(t, Spec{Include: []string{include}}).Select(tags)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", include, diff)
		}
	}
	f := mustCompile(t, Spec{Include: []string{"*", tags[0], tags[2]}, Exclude: []string{"sha512-*"}})
	for n, want := range []bool{true, false, false, false} {
		if got := f.Names(tags[n]); got != want {
			t.Errorf("%s is named: %v", tags[n], got)
		}
	}
}

func TestZeroFilterChoosesNothing(t *testing.T) {
	var f Filter
	if got := f.Select(list("a 1")); got != nil {
		t.Errorf("Select = %q, want nil", got)
	}
	if got := f.String(); got != "nothing" {
		t.Errorf("String = %q", got)
	}
}

func TestLiterals(t *testing.T) {
	cases := []struct {
		name string
		spec Spec
		want []string
		ok   bool
	}{
		{"sorted and once", Spec{Include: list("b a b")}, list("a b"), true},
		{"without the excluded", Spec{Include: list("b a c"), Exclude: list("a [c]")}, list("b"), true},
		{"all excluded", Spec{Include: list("a"), Exclude: list("*")}, nil, true},
		{"a glob needs the list", Spec{Include: list("a b*")}, nil, false},
		{"every tag needs the list", Spec{Include: list("a *")}, nil, false},
		{"an expression needs the list", Spec{Include: list("a /b/")}, nil, false},
		{"newest alone needs the list", Spec{Newest: 1}, nil, false},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			f := mustCompile(t, tc.spec)
			got, ok := f.Literals()
			if diff := cmp.Diff(tc.want, got); diff != "" || ok != tc.ok {
				t.Fatalf("Literals = %q, %v (-want +got):\n%s", got, ok, diff)
			}
			for i := range got {
				got[i] = "changed"
			}
			if again, _ := f.Literals(); !slices.Equal(again, tc.want) {
				t.Errorf("a caller's change reached the filter: %q", again)
			}
		})
	}
}

func TestString(t *testing.T) {
	cases := []struct {
		spec Spec
		want string
	}{
		{Spec{Newest: 3}, "include *; newest 3"},
		{Spec{Include: list("3.* latest"), Exclude: list("*_rc*"), Semver: ">= 3.19", Newest: 5}, "include 3.*, latest; exclude *_rc*; semver >= 3.19; newest 5"},
		{Spec{Suffix: "-alpine"}, "include *; suffix -alpine"},
		{Spec{Include: list("a b c d e f")}, "include a, b, c, d and 2 more"},
	}
	for _, tc := range cases {
		if got := mustCompile(t, tc.spec).String(); got != tc.want {
			t.Errorf("String = %q, want %q", got, tc.want)
		}
	}
}

// Whatever the filter and the tags, what cannot be chosen can be dropped before.
func TestCanChoose(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same each time
	pick := func(of ...string) string { return of[random.IntN(len(of))] }
	dropped, chosen := 0, 0
	for range 20_000 {
		spec := Spec{Semver: pick("", "", ">= 3.19", "~1", "1.x || >= 3-0"), Suffix: pick("", "", "-alpine"), Newest: random.IntN(4)}
		for range random.IntN(3) {
			spec.Include = append(spec.Include, pick("*", "3.*", "latest", "v1.2.3", "/v?[0-9.]+/", "{a,3}*", "sha256-*"))
		}
		for range random.IntN(2) {
			spec.Exclude = append(spec.Exclude, pick("*_rc*", "latest", "/.*-rc.*/", "3.1*"))
		}
		filter, err := Compile(spec)
		if err != nil {
			continue
		}
		var tags []string
		for range random.IntN(12) {
			tags = append(tags, pick("", "v")+pick("1", "3", "3.19", "3.20.1", "20240101", "latest", "edge", "../x", "sha256-"+strings.Repeat("a", 64))+pick("", "", "-alpine", "-rc1", "_rc2"))
		}
		kept := slices.DeleteFunc(slices.Clone(tags), func(tag string) bool { return !filter.CanChoose(tag) })
		all := filter.Select(tags)
		if of := filter.Select(kept); !slices.Equal(all, of) {
			t.Fatalf("%+v chooses %q of %q, and %q of %q", spec, all, tags, of, kept)
		}
		dropped += len(tags) - len(kept)
		chosen += len(all)
	}
	if dropped < 1000 || chosen < 1000 {
		t.Errorf("%d tags were dropped, %d chosen: the worlds are too tame", dropped, chosen)
	}
}

// A counter lacks what Choose lacks, if the filter does not rank.
func TestCounter(t *testing.T) {
	two, none := 2, 0
	lists := [][]string{nil, {"1"}, {"1", "latest"}, {"1", "2", "a"}, {"a", "no tag"}, {"latest", "x"}, {"1.0-rc1", "1.0", "1.1"}}
	specs := []Spec{
		{Include: []string{"*"}},
		{Include: []string{"latest"}},
		{Include: []string{"latest", "1*"}},
		{Include: []string{"latest", "l*"}, Min: &two},
		{Include: []string{"*"}, Exclude: []string{"l*"}, Min: &two},
		{Include: []string{"latest", "z*"}, Min: &none},
		{Semver: ">= 1.0", Min: &two},
	}
	for _, a := range specs {
		for _, b := range specs {
			f := Union(mustCompile(t, a), mustCompile(t, b))
			for _, list := range lists {
				want := f.Choose(list)
				counter := f.Counter()
				for _, tag := range list {
					counter.Add(tag)
				}
				got := counter.Lacks()
				got.Tags = want.Tags
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s of %q: %s", f, list, diff)
				}
			}
		}
	}
}
