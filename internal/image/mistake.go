package image

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// ErrUserinfo refuses a reference that contains a user's name or password. Its reporters must not repeat the reference.
var ErrUserinfo = errors.New(`has an "@" without a digest; a user name and a password do not belong in a reference: write them under registries, or use docker login`)

// digestLike matches the part after the "@" of a reference with a digest, even a wrong one.
var digestLike = regexp.MustCompile(`^(?:sha|md|blake)[a-z0-9]*:[0-9A-Za-z]*(?:@sha(?:256|512):[0-9a-f]*)?$`)

// HoldsUserinfo reports whether a text may contain a user's name or password before an "@", as a URL does. A reference has an "@" only
// before its digest.
func HoldsUserinfo(s string) bool {
	if strings.HasPrefix(s, LayoutScheme) {
		return false
	}
	_, rest, found := strings.Cut(s, "@")
	return found && !digestLike.MatchString(rest)
}

// badScheme says what to write instead of a URL.
func badScheme(scheme, rest string) error {
	rest = strings.TrimRight(rest, "/")
	if page, ok := cutFold(rest, hubSite+"/"); ok {
		return hubPage(page)
	}
	if _, err := parse(rest); err != nil {
		rest = "host/repository"
	}
	text := fmt.Sprintf("has the scheme %q: write %s without a scheme", scheme, rest)
	if strings.EqualFold(scheme, "http") {
		text += ", and plainHTTP: true for its host under registries"
	}
	return fmt.Errorf("%s (a directory is %sPATH)", text, LayoutScheme)
}

// hubPage says what to write instead of the address of a page on Docker Hub's web site.
func hubPage(page string) error {
	page = strings.TrimSuffix(page, "/"+prefixMark)
	page, _, _ = strings.Cut(page, "?")
	page, _, _ = strings.Cut(page, "#")
	parts := strings.Split(page, "/")
	instead := "NAMESPACE/NAME"
	switch {
	case len(parts) >= 2 && parts[0] == "_":
		instead = "library/" + parts[1]
	case len(parts) >= 3 && parts[0] == "r":
		instead = parts[1] + "/" + parts[2]
	case len(parts) == 2 && parts[0] != "r" && parts[0] != "u":
		instead = page
	}
	if _, err := parse(DockerHub + "/" + instead); err != nil {
		instead = "NAMESPACE/NAME"
	}
	return fmt.Errorf("is a page of Docker Hub's web site: write %s/%s", DockerHub, instead)
}

// onlyHost reports that a reference is only a registry's host. What looks like a tag may be its port.
func onlyHost(name, tag string) error {
	if _, err := CanonicalHost(name); err != nil {
		return err
	}
	instead := name + "/REPOSITORY"
	switch {
	case tag == "":
	case strings.Trim(tag, "0123456789") == "":
		instead = name + ":" + tag + "/REPOSITORY"
	default:
		instead += ":" + tag
	}
	return fmt.Errorf("names a registry and no repository: write %s", instead)
}

// cutFold is [strings.CutPrefix] without regard to case.
func cutFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}
