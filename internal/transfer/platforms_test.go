package transfer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
)

// entry writes one entry of an index: its digest is the digit sixty-four times.
func entry(digit, platform, extra string) string {
	os, rest, _ := strings.Cut(platform, "/")
	arch, variant, _ := strings.Cut(rest, "/")
	return fmt.Sprintf(`{ "digest":"sha256:%s","size":7, "mediaType":%q,"platform":{"os":%q,"architecture":%q,"variant":%q}%s}`,
		strings.Repeat(digit, 64), image.MediaTypeOCIManifest, os, arch, variant, extra)
}

func about(digit string) string {
	return fmt.Sprintf(`,"annotations":{%q:"sha256:%s"}`, describesKey, strings.Repeat(digit, 64))
}

func index(raw string) image.Manifest {
	return image.Manifest{
		Descriptor: image.Descriptor{MediaType: image.MediaTypeOCIIndex, Digest: image.DigestOf([]byte(raw), ""), Size: int64(len(raw))},
		Raw:        []byte(raw),
	}
}

func platforms(t testing.TB, names ...string) []image.Platform {
	t.Helper()
	var list []image.Platform
	for _, name := range names {
		p, err := image.ParsePlatform(name)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	return list
}

func TestSelectedPlatformsAreVerbatim(t *testing.T) {
	amd, arm, v6, v7 := entry("a", "linux/amd64", ""), entry("b", "linux/arm64/v8", `,"x-new":{"b":1,"a":[ ]}`), entry("c", "linux/arm/v6", ""), entry("d", "linux/arm/v7", "")
	ofAmd, ofArm := entry("e", "unknown/unknown", about("a")), entry("f", "unknown/unknown", about("b"))
	before, after := "{\n  \"zzz\" : [1,2] , \"schemaVersion\":2,\"manifests\" :  ", ` , "annotations":{"k":"v"},"mediaType":"`+image.MediaTypeOCIIndex+"\"}\n\n"
	all := before + "[\n " + strings.Join([]string{ofArm, amd, v7, arm, v6, ofAmd}, " ,\n ") + "\n]" + after
	cases := []struct {
		wanted []string
		keep   []string
	}{
		{[]string{"linux/amd64"}, []string{amd, ofAmd}},
		{[]string{"linux/arm64"}, []string{ofArm, arm}},
		{[]string{"linux/arm64/v8"}, []string{ofArm, arm}},
		{[]string{"linux/arm"}, []string{v7, v6}},
		{[]string{"linux/arm/v6"}, []string{v6}},
		{[]string{"linux/arm64", "linux/amd64"}, []string{ofArm, amd, arm, ofAmd}},
		{[]string{"linux/arm/v7", "linux/amd64", "linux/arm64"}, []string{ofArm, amd, v7, arm, ofAmd}},
	}
	for _, c := range cases {
		t.Run(strings.Join(c.wanted, "+"), func(t *testing.T) {
			want := before + "[" + strings.Join(c.keep, ",") + "]" + after
			for range 2 { // in both orders
				got, _, err := selectPlatforms(index(all), platforms(t, c.wanted...))
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, string(got.Raw)); diff != "" {
					t.Error(diff)
				}
				if got.Digest != image.DigestOf([]byte(want), "") || got.Size != int64(len(want)) || got.MediaType != image.MediaTypeOCIIndex {
					t.Errorf("described as %v", got.Descriptor)
				}
				slices.Reverse(c.wanted)
			}
		})
	}
	got, _, err := selectPlatforms(index(all), platforms(t, "linux/amd64", "linux/arm64", "linux/arm"))
	if err != nil || string(got.Raw) != all {
		t.Errorf("with all platforms kept: %v\n%s", err, got.Raw)
	}
}

func TestSelectingKeepsTheAlgorithmOfTheDigest(t *testing.T) {
	m := index(`{"schemaVersion":2,"manifests":[` + entry("a", "linux/amd64", "") + `,` + entry("b", "linux/arm64", "") + `]}`)
	m.Digest = image.DigestOf(m.Raw, image.Digest("sha512:"+strings.Repeat("0", 128)))
	got, _, err := selectPlatforms(m, platforms(t, "linux/arm64"))
	if err != nil || got.Digest.Algorithm() != "sha512" || got.Digest != image.DigestOf(got.Raw, m.Digest) {
		t.Errorf("%v, %v", got.Digest, err)
	}
}

func TestMissingPlatformsAreRefusedByName(t *testing.T) {
	raw := `{"schemaVersion":2,"manifests":[` + strings.Join([]string{entry("a", "linux/amd64", ""), entry("b", "linux/arm64", ""),
		entry("c", "unknown/unknown", about("a")), entry("d", "unknown/unknown", ""), entry("e", "linux/amd64", "")}, ",") + `]}`
	want := "the source does not offer linux/s390x, windows/amd64; it offers linux/amd64, linux/arm64"
	some, short, err := selectPlatforms(index(raw), platforms(t, "linux/amd64", "linux/s390x", "windows/amd64"))
	if err != nil || strings.Contains(string(some.Raw), entry("b", "linux/arm64", "")) {
		t.Errorf("with one of three: %v\n%s", err, some.Raw)
	}
	_, _, none := selectPlatforms(index(raw), platforms(t, "linux/s390x", "windows/amd64"))
	for want, err := range map[string]error{want + "; platforms.missing: skip does without": short, want: none} {
		refused, ok := errors.AsType[*mirror.RefusedError](err)
		if !ok || refused.Reason != diff.PlatformMissing || refused.Detail != want {
			t.Errorf("error = %v, want %q", err, want)
		}
	}
}

// TestIndexBelowIsNamed: platforms does not look into an index below another one, and the refusal says that there is one.
func TestIndexBelowIsNamed(t *testing.T) {
	below := strings.Replace(entry("b", "linux/arm64", ""), image.MediaTypeOCIManifest, image.MediaTypeOCIIndex, 1)
	below = regexp.MustCompile(`,?"platform":\{[^}]*\}`).ReplaceAllString(below, "")
	raw := `{"schemaVersion":2,"manifests":[` + entry("a", "linux/amd64", "") + "," + below + `]}`
	_, _, err := selectPlatforms(index(raw), platforms(t, "linux/arm64"))
	if refused, ok := errors.AsType[*mirror.RefusedError](err); !ok || !strings.Contains(refused.Detail, "it also has an index without a platform") {
		t.Errorf("%v\n%s", err, raw)
	}
	if got, short, err := selectPlatforms(index(raw), platforms(t, "linux/amd64")); err != nil || short != nil || strings.Contains(string(got.Raw), below) {
		t.Errorf("%v, %v, %s", short, err, got.Raw)
	}
}

// An index that two programs may read in two ways is not taken: what one of them finds below it may not have been brought.
func TestAmbiguousIndexIsRefused(t *testing.T) {
	amd, arm := entry("a", "linux/amd64", ""), entry("b", "linux/arm64", "")
	other := strings.Repeat("c", 64)
	cases := map[string]string{
		"manifests twice":         `{"manifests":[` + amd + `],"manifests":[` + arm + `]}`,
		"manifests twice escaped": `{"manifests":[` + amd + `],"\u006danifests":[` + arm + `]}`,
		"other letters":           `{"Manifests":[` + amd + `,` + arm + `]}`,
		"other letters as well":   `{"manifests":[` + amd + `],"MANIFESTS":[` + arm + `]}`,
		"a long s":                `{"manifestſ":[` + arm + `],"manifests":[` + amd + `]}`,
		"digest twice":            `{"manifests":[` + strings.Replace(amd, `"size"`, `"digest":"sha256:`+other+`","size"`, 1) + `,` + arm + `]}`,
		"platform twice":          `{"manifests":[` + strings.Replace(amd, `"size"`, `"platform":{"os":"linux"},"size"`, 1) + `,` + arm + `]}`,
		"os twice":                `{"manifests":[` + strings.Replace(amd, `"os":`, `"os":"windows","os":`, 1) + `,` + arm + `]}`,
		"annotation twice":        `{"manifests":[` + entry("a", "linux/amd64", `,"annotations":{"a":"1","a":"2"}`) + `,` + arm + `]}`,
	}
	for name, raw := range cases {
		t.Run(name, func(t *testing.T) {
			_, _, err := selectPlatforms(index(raw), platforms(t, "linux/amd64"))
			if err == nil || !strings.Contains(err.Error(), "can be read in two ways") {
				t.Errorf("error = %v", err)
			}
		})
	}
	fine := `{"\u006danifests":[` + amd + `,` + arm + `],"x":{"manifests":1,"manifests":2},"annotations":{"Size":"","size":""}}`
	got, _, err := selectPlatforms(index(fine), platforms(t, "linux/amd64"))
	if want := strings.Replace(fine, ","+arm, "", 1); err != nil || string(got.Raw) != want {
		t.Errorf("%v\n%s\nwant\n%s", err, got.Raw, want)
	}
}

// FuzzSelectPlatforms: what comes out is JSON, has a subsequence of the entries and all else unchanged, and selecting from it
// again changes nothing.
func FuzzSelectPlatforms(f *testing.F) {
	amd, arm, of := entry("a", "linux/amd64", ""), entry("b", "linux/arm64", ""), entry("c", "unknown/unknown", about("a"))
	f.Add(`{"manifests":[` + amd + `,` + arm + `,` + of + `]}`)
	f.Add("\n{ \"x\" : null , \"\\u006danifests\" : [ \n" + arm + "\t, " + amd + " ] , \"y\":[{}] }\n")
	f.Add(`{"manifests":[` + amd + `],"manifests":[` + arm + `]}`)
	f.Add(`{"Manifests":[` + amd + `],"manifests":null}`)
	f.Add(`{"manifests":[` + amd + `,` + amd + `,` + strings.Replace(arm, "b", "a", 64) + `]}`)
	f.Add(`{"schemaVersion":1,"manifests":[` + of + `]}`)
	f.Fuzz(func(t *testing.T, raw string) {
		m := index(raw)
		for _, wanted := range [][]image.Platform{platforms(t, "linux/amd64"), platforms(t, "linux/arm64", "linux/amd64"), platforms(t, "linux/arm")} {
			got, _, err := selectPlatforms(m, wanted)
			if err != nil {
				continue
			}
			reversed := slices.Clone(wanted)
			slices.Reverse(reversed)
			if again, _, err := selectPlatforms(m, reversed); err != nil || !bytes.Equal(again.Raw, got.Raw) {
				t.Fatalf("in another order of the platforms: %v\n%s\n%s", err, got.Raw, again.Raw)
			}
			if got.Digest != image.DigestOf(got.Raw, "") || got.Size != int64(len(got.Raw)) {
				t.Fatalf("described as %v", got.Descriptor)
			}
			before, after := split(t, m.Raw), split(t, got.Raw)
			checkSubsequence(t, before["manifests"], after["manifests"])
			delete(before, "manifests")
			delete(after, "manifests")
			if diff := cmp.Diff(before, after); diff != "" {
				t.Fatal(diff)
			}
			if again, _, err := selectPlatforms(got, wanted); err != nil || !bytes.Equal(again.Raw, got.Raw) {
				t.Fatalf("selected again: %v\n%s\n%s", err, got.Raw, again.Raw)
			}
		}
	})
}

func split(t *testing.T, raw []byte) map[string]json.RawMessage {
	t.Helper()
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
	return fields
}

func checkSubsequence(t *testing.T, before, after json.RawMessage) {
	t.Helper()
	var all, kept []json.RawMessage
	if err := errors.Join(json.Unmarshal(before, &all), json.Unmarshal(after, &kept)); err != nil {
		t.Fatal(err)
	}
	for _, k := range kept {
		i := slices.IndexFunc(all, func(a json.RawMessage) bool { return bytes.Equal(a, k) })
		if i < 0 {
			t.Fatalf("%s is not, or not in this place, in %s", k, before)
		}
		all = all[i+1:]
	}
	if len(kept) == 0 {
		t.Fatal("nothing is kept")
	}
}
