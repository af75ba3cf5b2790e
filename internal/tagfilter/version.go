package tagfilter

import (
	"cmp"
	"regexp"
	"strconv"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// minDate is the minimum number of digits of a date or build number without dots.
const minDate = 6

// version is the version of a tag: semver, with the extensions that tags use.
type version struct {
	*semver.Version
	fourth uint64 // 5458 of 10.0.17763.5458
}

// preRelease matches the suffix after an underscore with which Alpine's packages mark pre-releases.
var preRelease = regexp.MustCompile(`^(?:alpha|beta|pre|rc)[0-9]*$`)

// parseVersion parses a version loosely. It returns false for a tag that is not a version.
func parseVersion(text string) (version, bool) {
	core := strings.TrimPrefix(text, "v")
	if core == "" || !isDigit(core[0]) {
		return version{}, false // decided without the library's expression, which is slow, since most other tags are not versions
	}
	end := strings.IndexAny(core, "-_")
	if end < 0 {
		end = len(core)
	}
	core, rest := core[:end], core[end:]
	if len(core) >= minDate && !strings.Contains(core, ".") {
		return version{}, false
	}
	var v version
	if strings.Count(core, ".") == 3 {
		dot := strings.LastIndexByte(core, '.')
		fourth, err := strconv.ParseUint(core[dot+1:], 10, 64)
		if err != nil {
			return version{}, false
		}
		v.fourth, core = fourth, core[:dot]
	}
	// A tag cannot contain the "+" of a version; Helm writes "_" instead.
	if before, meta, ok := strings.Cut(rest, "_"); ok {
		if before == "" && preRelease.MatchString(meta) {
			rest = "-" + meta
		} else {
			rest = before + "+" + meta
		}
	}
	parsed, err := semver.NewVersion(core + rest)
	if err != nil {
		return version{}, false
	}
	v.Version = parsed
	return v, true
}

// compare orders the lower version first: by semver, then by the fourth part, then by the part after Helm's "_".
func (v version) compare(w version) int {
	// The fourth part precedes the pre-release, which semver compares last.
	return cmp.Or(
		cmp.Compare(v.Major(), w.Major()), cmp.Compare(v.Minor(), w.Minor()), cmp.Compare(v.Patch(), w.Patch()),
		cmp.Compare(v.fourth, w.fourth),
		v.Version.Compare(w.Version),
		cmp.Compare(natural(v.Metadata()), natural(w.Metadata())),
	)
}

// candidate is a tag that a pattern matched.
type candidate struct {
	tag     string
	version version // if needed
	key     string  // the sort key of another scheme
}

// byVersion orders the highest version first. The order is total: different tags are never equal.
func byVersion(a, b candidate) int {
	return cmp.Or(b.version.compare(a.version), byLength(a, b))
}

func byLength(a, b candidate) int {
	return cmp.Or(cmp.Compare(len(b.tag), len(a.tag)), cmp.Compare(a.tag, b.tag))
}
