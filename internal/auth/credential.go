package auth

import (
	"context"
	"strings"
	"time"

	"github.com/draysync/dray/internal/image"
)

// Credential signs in to a registry. The zero value is anonymous.
type Credential struct {
	Username string
	Password string
	// IdentityToken is a refresh token of the registry's token server, as some registries' `docker login` leaves.
	IdentityToken string
	// Lacking says why there is no credential where one was to be had; empty otherwise.
	Lacking string
	// Hint is what a person can do to be signed in where nobody is, if that is another thing than elsewhere.
	Hint string
}

// Anonymous tells whether nobody is signed in.
func (c Credential) Anonymous() bool {
	return c.Username == "" && c.Password == "" && c.IdentityToken == ""
}

// Account names who signs in: a token does not say.
func (c Credential) Account() string {
	if c.Username == "" && c.IdentityToken != "" {
		return "identity token"
	}
	return c.Username
}

// secrets are what must not be seen of it.
func (c Credential) secrets() []string {
	if c.Password == "" && c.IdentityToken == "" {
		return nil
	}
	return []string{c.Password, c.IdentityToken, c.Username + ":" + c.Password}
}

// Source returns the credential for a repository, and when it ends; zero for never. No credential is no error.
type Source func(ctx context.Context, repo image.Repository) (Credential, time.Time, error)

// Static is the source of a credential that does not change. The zero credential signs nobody in.
func Static(c Credential) Source {
	return func(context.Context, image.Repository) (Credential, time.Time, error) { return c, time.Time{}, nil }
}

// Keychain finds the source for a repository.
type Keychain struct {
	// Named are sources by canonical host, or by host/path for a part of one; the longest match wins.
	Named map[string]Source
	// Store answers for what none is named for; nil for nobody.
	Store *Store
	// Implied returns the source for a repository that neither has an entry for; nil where there is none, as the function may be.
	Implied func(repo image.Repository) Source
}

// Find returns the source for a repository, and a key that repositories share of which the source says the same.
func (k Keychain) Find(repo image.Repository) (key string, source Source) {
	if name := k.Name(repo); name != "" {
		return name, k.Named[name]
	}
	if k.Implied != nil && !k.Store.Has(repo) {
		if source := k.Implied(repo); source != nil {
			return repo.Registry, source
		}
	}
	return k.Store.key(repo), k.Store.Lookup
}

// Lacking says which program would be asked for the credential of a repository, and is not installed; empty where that is none.
func (k Keychain) Lacking(repo image.Repository) string {
	if k.Name(repo) != "" {
		return ""
	}
	return k.Store.Lacking(repo)
}

// Name returns the longest name that a source has for a repository; empty for none.
func (k Keychain) Name(repo image.Repository) string {
	found := ""
	prefixes(repo, func(name string) bool {
		if _, ok := k.Named[name]; ok {
			found = name
		}
		return found != ""
	})
	return found
}

// prefixes calls f with the repository and all that it lies below, the longest first, until f returns true.
func prefixes(repo image.Repository, f func(string) bool) {
	name := repo.String()
	for {
		if f(name) {
			return
		}
		i := strings.LastIndexByte(name, '/')
		if i < 0 {
			return
		}
		name = name[:i]
	}
}
