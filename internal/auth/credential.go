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
	// IdentityToken is a refresh token of the registry's token server, as `docker login` saves it for some registries.
	IdentityToken string
	// Lacking says why there is no credential although one was expected; empty otherwise.
	Lacking string
	// Hint says how to sign in, if that differs from the usual way.
	Hint string
	// federated says that Password is a token of an OIDC provider, for which the registry gives the account a password.
	federated bool
}

// Anonymous reports whether the credential is empty.
func (c Credential) Anonymous() bool {
	return c.Username == "" && c.Password == "" && c.IdentityToken == ""
}

// Account returns the account's name, which a token does not tell.
func (c Credential) Account() string {
	if c.Username == "" && c.IdentityToken != "" {
		return "identity token"
	}
	return c.Username
}

// secrets returns the parts that must not appear anywhere.
func (c Credential) secrets() []string {
	if c.Password == "" && c.IdentityToken == "" {
		return nil
	}
	return []string{c.Password, c.IdentityToken, c.Username + ":" + c.Password}
}

// Source returns the credential for a repository and its expiry; zero for never. Having no credential is not an error.
type Source func(ctx context.Context, repo image.Repository) (Credential, time.Time, error)

// Static is the source of a constant credential. The zero credential is anonymous.
func Static(c Credential) Source {
	return func(context.Context, image.Repository) (Credential, time.Time, error) { return c, time.Time{}, nil }
}

// Keychain finds the source for a repository.
type Keychain struct {
	// Named are sources by canonical host, or by host/path for a part of one; the longest match wins.
	Named map[string]Source
	// Store is used if no named source matches; nil for none.
	Store *Store
	// Implied returns the source for a repository that neither matches; nil if there is none. The function may be nil.
	Implied func(repo image.Repository) Source
}

// Find returns the source for a repository, and a key. Repositories with one key have the same credential.
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

// Lacking returns the missing program that would supply the credential of a repository; empty for none.
func (k Keychain) Lacking(repo image.Repository) string {
	if k.Name(repo) != "" {
		return ""
	}
	return k.Store.Lacking(repo)
}

// Name returns the longest name with a source for a repository; empty for none.
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

// prefixes calls f with the repository and its parents, the longest first, until f returns true.
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
