package image

import "strings"

// IsGoogle reports whether a registry is one of Google's that takes the tokens of its cloud: Artifact Registry or gcr.io.
func IsGoogle(registry string) bool {
	switch registry {
	case "mirror.gcr.io": // a cache of Docker Hub for anybody
		return false
	case "gcr.io", "docker.pkg.dev":
		return true
	}
	return strings.HasSuffix(registry, ".gcr.io") || strings.HasSuffix(registry, "-docker.pkg.dev")
}
