package image

import "testing"

// TestIsGoogle: no host of anybody else is sent a token.
func TestIsGoogle(t *testing.T) {
	for registry, want := range map[string]bool{
		"gcr.io": true, "eu.gcr.io": true, "europe-west1-docker.pkg.dev": true, "us-docker.pkg.dev": true, "docker.pkg.dev": true,
		"mirror.gcr.io": false, "gcr.io.example": false, "notgcr.io": false, "gcr.io:5000": false, "eu-docker.pkg.dev.example": false, "evildocker.pkg.dev": false,
		"europe-npm.pkg.dev": false, "registry.k8s.io": false, "docker.io": false,
	} {
		if got := IsGoogle(registry); got != want {
			t.Errorf("%s: %v", registry, got)
		}
	}
}
