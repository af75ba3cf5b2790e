// Package auth signs requests to registries: a challenge asks for a credential, and a credential buys tokens.
//
// It knows which requests are for tokens, because it makes them. A credential comes from a [Source], whatever stands behind that: the
// config, the files that docker login leaves, a credential helper, a cloud.
package auth
