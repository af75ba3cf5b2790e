package tagfilter

import (
	"cmp"
	"regexp"
	"strconv"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// minDate is the number of digits from which a number without dots is a date or a build number.
const minDate = 6

// version is a version as tags have it: semver, and what tags add to it.
type version struct {
	*semver.Version
	fourth uint64 // 5458 of 10.0.17763.5458
}

// preRelease is what Alpine's packages have behind an underscore before a release.
var preRelease = regexp.MustCompile(`^(?:alpha|beta|pre|rc)[0-9]*$`)

// parseVersion reads a version loosely. It is false for what is none.
func parseVersion(text string) (version, bool) {
	core := strings.TrimPrefix(text, "v")
	if core == "" || !isDigit(core[0]) {
		return version{}, false // told without the expression of the library, which is slow, as most other tags are no version
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
	// A tag cannot have the "+" of a version, for which Helm writes "_".
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

// compare orders the lower version first: by semver, then by the fourth part, then by what Helm writes behind "_".
func (v version) compare(w version) int {
	// The fourth part stands before the pre-release, which semver compares last.
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
	version version // where one is asked for
	key     string  // what another scheme orders by
}

// byVersion orders the highest version first. It is total: only one and the same tag is equal.
func byVersion(a, b candidate) int {
	return cmp.Or(b.version.compare(a.version), byLength(a, b))
}

func byLength(a, b candidate) int {
	return cmp.Or(cmp.Compare(len(b.tag), len(a.tag)), cmp.Compare(a.tag, b.tag))
}
