package imagelist

import (
	"regexp"
	"strings"

	"github.com/draysync/dray/internal/image"
)

// form is how much a text looks like an image reference.
type form int

const (
	// formNone is no reference.
	formNone form = iota
	// formBare is a word or path, which anything may be: nginx, quay.io/team/app.
	formBare
	// formTagged has a tag or a digest, and no host: rancher/shell:v0.2, redis:6379.
	formTagged
	// formFull has a host, and a tag or a digest.
	formFull
)

// formOf returns what a text looks like, and the reference.
func formOf(text string) (form, image.Reference) {
	const longest = 600 // more than any host, path, tag and digest that people write
	if text == "" || len(text) > longest || strings.ContainsAny(text, " \t\n$") || strings.Contains(text, "{{") || strings.Contains(text, "://") {
		return formNone, image.Reference{}
	}
	named, err := image.Parse(text)
	if err != nil || named.IsLayout() {
		return formNone, image.Reference{}
	}
	ref, _ := image.ParseImage(text)
	host, _, hosted := strings.Cut(text, "/")
	switch {
	case named.Tag == "" && named.Digest == "":
		return formBare, ref
	case hosted && (strings.ContainsAny(host, ".:") || host == "localhost"):
		return formFull, ref
	}
	return formTagged, ref
}

var (
	wordOfName = regexp.MustCompile(`[A-Z]?[a-z]+|[A-Z]+|[0-9]+`)
	// portLike is a tag that may be the port of an address.
	portLike = regexp.MustCompile(`^[0-9]{4,5}$`)
	// versionLike is a tag that is one rather than something else after a colon.
	versionLike = regexp.MustCompile(`[0-9]|^(?:latest|stable|main|master|edge|nightly|nonroot)$`)
)

// namesImage reports whether a key, a flag or a variable is one for an image: MY_IMAGE, proxyImage, imageName; not imagePullPolicy.
func namesImage(name string) bool {
	if strings.HasPrefix(name, "RELATED_IMAGE_") {
		return true
	}
	last, about := "", false
	for _, word := range wordOfName.FindAllString(name, -1) {
		switch word = strings.ToLower(word); word {
		case "image", "images", "img":
			about = true
		}
		if word[0] > '9' {
			last = word
		}
	}
	switch last {
	case "image", "images", "img":
		return true
	case "name", "ref", "reference", "url", "uri":
		return about
	}
	return false
}

// argument takes a value that a program is given, by a flag or a variable of this name; name may be empty.
func (f *finder) argument(at Place, name, value string) {
	value = strings.TrimSpace(value)
	if strings.ContainsAny(value, " \t\n") {
		f.words(at, name, value)
		return
	}
	parts := []string{value}
	if strings.Contains(value, ",") {
		parts = strings.Split(value, ",")
	}
	for _, part := range parts {
		if i := strings.LastIndexByte(part, '='); i >= 0 { // such as go=golang:1.23
			part = part[i+1:]
		}
		f.given(at, name, part)
	}
}

func (f *finder) given(at Place, name, value string) {
	const unnamed = "looks like an image, but its flag or variable does not say so: name its place with a path"
	is, ref := formOf(strings.TrimPrefix(value, "docker://"))
	images := namesImage(name)
	switch {
	case is == formNone:
		if images && unresolved(value) != "" && !strings.HasPrefix(value, "$(") {
			f.doubt(at, value, unresolved(value))
		}
	case is == formFull && (images || ref.Digest != "" || versionLike.MatchString(ref.Tag) && !portLike.MatchString(ref.Tag)):
		f.image(at, ref, value)
	case is == formFull:
		f.doubt(at, value, unnamed)
	case is == formTagged && images && (strings.Contains(value, "/") || !portLike.MatchString(ref.Tag)):
		f.image(at, ref, value)
	case is == formTagged && (images || strings.Contains(value, "/") && versionLike.MatchString(ref.Tag)):
		f.doubt(at, value, unnamed)
	case is == formBare && strings.Contains(value, "/") && images:
		f.doubt(at, value, "has no tag and no digest, so it may be only the beginning of a reference")
	}
}

var wordOf = regexp.MustCompile(`[^\s"'` + "`" + `]+`)

// words takes a text of several words, such as a script. If each is a reference, it is a list, otherwise what is in it is doubtful.
func (f *finder) words(at Place, name, value string) {
	words := wordOf.FindAllString(value, -1)
	if namesImage(name) {
		all := true
		for _, word := range words {
			is, _ := formOf(word[strings.LastIndexByte(word, '=')+1:])
			all = all && is >= formTagged
		}
		if all {
			for _, word := range words {
				f.given(at, name, word[strings.LastIndexByte(word, '=')+1:])
			}
			return
		}
	}
	for _, word := range words {
		word = word[strings.LastIndexByte(word, '=')+1:]
		if is, ref := formOf(word); is == formFull && (ref.Digest != "" || versionLike.MatchString(ref.Tag)) {
			f.doubt(at, word, "is in a longer text: name it yourself, if it is an image")
		}
	}
}
