package convert

import (
	"strings"

	"github.com/draysync/dray/internal/image"
)

// splitReference cuts a reference into repository, tag and digest. It knows nothing of what is valid, since there may be
// ${env:NAME} in it.
func splitReference(ref string) (repository, tag, digest string) {
	repository = ref
	if before, after, _ := strings.Cut(ref, "@"); strings.Contains(ref, "${") || !image.HoldsUserinfo(ref) {
		repository, digest = before, after
	}
	bare := blank(repository)
	if i := strings.LastIndexByte(bare, ':'); i > strings.LastIndexByte(bare, '/') {
		repository, tag = repository[:i], repository[i+1:]
	}
	return repository, tag, digest
}

// blank puts underscores in the place of ${…}, so that colons and slashes in there are not taken for those of the reference.
func blank(s string) string {
	b := []byte(s)
	inside := false
	for i := range b {
		switch {
		case b[i] == '$' && i+1 < len(b) && b[i+1] == '{':
			inside = true
		case b[i] == '}' && inside:
			inside = false
			b[i] = '_'
		}
		if inside {
			b[i] = '_'
		}
	}
	return string(b)
}

// host returns the registry of a reference by Docker's rule; empty for a layout, and for one that has ${env:NAME} in it.
func host(ref string) string {
	if strings.HasPrefix(ref, "ocidir://") || strings.Contains(ref, "${") {
		return ""
	}
	first, _, found := strings.Cut(ref, "/")
	if found && (first == "localhost" || strings.ContainsAny(first, ".:")) {
		return first
	}
	return "docker.io"
}

// sameRepository tells whether two references name one repository, or as prefixes the same ones. Those with ${env:NAME} in them
// are compared by their text.
func sameRepository(a, b string, prefixes bool) bool {
	a, _, _ = splitReference(a)
	b, _, _ = splitReference(b)
	parse := func(s string) (image.Repository, error) {
		if prefixes {
			return image.ParsePrefix(s)
		}
		ref, err := image.Parse(s)
		return ref.Repository, err
	}
	first, errA := parse(a)
	second, errB := parse(b)
	if errA != nil || errB != nil {
		return a == b
	}
	return first == second
}

// pinnedTag is a tag for an image that is named by its digest only, which dray's target needs. It does not look like the
// tags by which signatures are found (sha256-…).
func pinnedTag(digest string) string {
	_, hex, _ := strings.Cut(digest, ":")
	return "digest-" + hex[:min(len(hex), 12)]
}
