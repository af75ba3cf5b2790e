package config

import (
	"fmt"

	"github.com/draysync/dray/internal/lazyregexp"
)

// RegistryQuay says as which robot account of Quay to sign in, and which file has the token of an OIDC provider.
type RegistryQuay struct{ Robot, TokenFile string }

// robotName matches the name of a robot account: its organization's or user's, and its own.
var robotName = lazyregexp.New(`^[a-z0-9][a-z0-9._-]{0,254}\+[a-z0-9][a-z0-9_.-]{0,254}$`)

func (b *builder) registryQuay(s registryQuaySection) *RegistryQuay {
	if !s.set {
		return nil
	}
	if t := s.Robot; t.set && !robotName().MatchString(t.value) {
		b.invalid(t, fmt.Errorf("%s is not the name of a robot account, such as acme+mirror", quote(t.raw)), "the name of a robot account")
	}
	return &RegistryQuay{Robot: s.Robot.value, TokenFile: b.path(s.TokenFile)}
}
