// Package auth signs requests to registries. A registry's challenge asks for a credential, or for a token that the credential obtains from
// a token server.
//
// The package requests tokens itself. A credential comes from a [Source]: the config, the files that docker login writes, a credential
// helper, or a cloud.
package auth
