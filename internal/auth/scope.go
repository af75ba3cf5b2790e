package auth

import (
	"slices"
	"strings"
)

// Scope is a right that a request needs, as in distribution's token authentication: "repository:library/alpine:pull".
type Scope string

// The scopes of the operations on a repository, and of the registry's catalog.
func Pull(path string) Scope { return Scope("repository:" + path + ":pull") }

// Push is the scope to read and write.
func Push(path string) Scope { return Scope("repository:" + path + ":pull,push") }

// Catalog is the scope to list a registry's repositories.
const Catalog Scope = "registry:catalog:*"

// resource returns the scope without its actions.
func (s Scope) resource() string { return string(s[:max(strings.LastIndexByte(string(s), ':'), 0)]) }

// parseScopes reads the parameter scope of a challenge, whose scopes are separated by blanks.
func parseScopes(text string) []Scope {
	var scopes []Scope
	for _, field := range strings.Fields(text) {
		if strings.Count(field, ":") >= 2 {
			scopes = append(scopes, Scope(field))
		}
	}
	return scopes
}

// wanted merges the scopes that a request needs with those that the registry asks for. If the registry names other resources than the
// request, as behind a rewritten path, the registry is right.
func wanted(need, asked []Scope) []Scope {
	same := len(asked) == 0
	for _, a := range asked {
		same = same || slices.ContainsFunc(need, func(n Scope) bool { return n.resource() == a.resource() })
	}
	if !same {
		return asked
	}
	all := slices.Clone(need)
	for _, a := range asked {
		i := slices.IndexFunc(all, func(n Scope) bool { return n.resource() == a.resource() })
		if i < 0 {
			all = append(all, a)
			continue
		}
		all[i] = merge(all[i], a)
	}
	return all
}

// merge joins the actions of two scopes of one resource.
func merge(a, b Scope) Scope {
	actions := strings.Split(string(a[len(a.resource())+1:]), ",")
	for _, action := range strings.Split(string(b[len(b.resource())+1:]), ",") {
		if !slices.Contains(actions, action) {
			actions = append(actions, action)
		}
	}
	return Scope(a.resource() + ":" + strings.Join(actions, ","))
}

func joined(scopes []Scope) string {
	texts := make([]string, len(scopes))
	for i, s := range scopes {
		texts[i] = string(s)
	}
	return strings.Join(texts, " ")
}
