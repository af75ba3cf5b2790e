package image

import (
	"fmt"
	"regexp"
	"strings"
)

// Platform is the platform of an image: os, architecture and variant of the OCI image index spec.
type Platform struct {
	OS           string
	Architecture string
	Variant      string
	// Optional marks a platform that is wanted only if an image has it.
	Optional bool
}

var platformPart = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]*$`)

// ParsePlatform reads "os/arch" or "os/arch/variant", with a trailing "?" for an optional one. It maps other common names of an
// architecture to the one of the OCI image index spec (Go's GOARCH).
func ParsePlatform(s string) (Platform, error) {
	name, optional := strings.CutSuffix(s, "?")
	parts := strings.Split(name, "/")
	if len(parts) < 2 || len(parts) > 3 {
		return Platform{}, fmt.Errorf("platform %q: write os/arch or os/arch/variant, such as linux/amd64 or linux/arm/v7", s)
	}
	for _, p := range parts {
		if !platformPart.MatchString(p) {
			return Platform{}, fmt.Errorf("platform %q: %q is not a valid part: write os/arch or os/arch/variant in lower case, such as linux/amd64", s, p)
		}
	}
	p := Platform{OS: parts[0], Architecture: parts[1], Optional: optional}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	return p.Normal(), nil
}

// Normal returns the platform under its canonical name: x86_64 becomes amd64, aarch64 arm64, and the default variants v8 of arm64 and v1 of
// amd64 are left out.
func (p Platform) Normal() Platform {
	switch p.Architecture {
	case "x86_64", "x86-64":
		p.Architecture = "amd64"
	case "aarch64":
		p.Architecture = "arm64"
	case "i386":
		p.Architecture = "386"
	case "armhf":
		p.Architecture, p.Variant = "arm", "v7"
	case "armel":
		p.Architecture, p.Variant = "arm", "v6"
	}
	if (p.Architecture == "arm64" && p.Variant == "v8") || (p.Architecture == "amd64" && p.Variant == "v1") {
		p.Variant = ""
	}
	return p
}

// Matches reports whether the wanted platform p covers the offered one. Without a variant it covers every variant of its architecture.
func (p Platform) Matches(offered Platform) bool {
	p, offered = p.Normal(), offered.Normal()
	return p.OS == offered.OS && p.Architecture == offered.Architecture && (p.Variant == "" || p.Variant == offered.Variant)
}

// String returns os/arch or os/arch/variant, with a trailing "?" for an optional one.
func (p Platform) String() string {
	text := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		text += "/" + p.Variant
	}
	if p.Optional {
		text += "?"
	}
	return text
}
