package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/lazyregexp"
)

// RegistryGoogle says that a registry is one of Google's, and as whom to sign in. Each text is empty if it is not set.
type RegistryGoogle struct {
	// CredentialsFile is the path of a file of credentials, Impersonate the e-mail address of a service account to act as.
	CredentialsFile, Impersonate string
}

// serviceAccount matches the e-mail address of a service account.
var serviceAccount = lazyregexp.New(`^[a-z0-9][a-z0-9._-]{0,63}@[a-z0-9-]+(?:\.[a-z0-9-]+)+$`)

// registryGoogle reads the settings of a registry, whose canonical key may be host/path.
func (b *builder) registryGoogle(key string, s registryGoogleSection) *RegistryGoogle {
	if !s.set {
		return nil
	}
	if host, _, _ := strings.Cut(key, "/"); !image.IsGoogle(host) {
		b.fail(s.origin, errors.New("is for Google's registries, and this is none: its token is good for all of Google's cloud"), "write a host such as europe-docker.pkg.dev or gcr.io")
	}
	if t := s.Impersonate; t.set && !serviceAccount().MatchString(t.value) {
		b.invalid(t, fmt.Errorf("%s is not the e-mail address of a service account, such as mirror@project.iam.gserviceaccount.com", quote(t.raw)), "the e-mail address of a service account")
	}
	return &RegistryGoogle{CredentialsFile: b.path(s.CredentialsFile), Impersonate: s.Impersonate.value}
}
