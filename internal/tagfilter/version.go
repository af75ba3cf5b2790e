package tagfilter

import (
	"cmp"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// minDate is the number of digits from which a number without dots is a date or a build number.
const minDate = 6

// parseVersion reads a version loosely. It is nil for what is none.
func parseVersion(text string) *semver.Version {
	core := strings.TrimPrefix(text, "v")
	if core == "" || !isDigit(core[0]) {
		return nil // told without the expression of the library, which is slow, as most other tags are no version
	}
	core, _, _ = strings.Cut(core, "-")
	if len(core) >= minDate && !strings.Contains(core, ".") {
		return nil
	}
	version, err := semver.NewVersion(text)
	if err != nil {
		return nil
	}
	return version
}

// candidate is a tag that a pattern matched.
type candidate struct {
	tag     string
	version *semver.Version // nil where no version is asked for
}

// byVersion orders the highest version first. It is total: only one and the same tag is equal.
func byVersion(a, b candidate) int {
	return cmp.Or(
		b.version.Compare(a.version),
		cmp.Compare(len(b.tag), len(a.tag)),
		cmp.Compare(a.tag, b.tag),
	)
}
