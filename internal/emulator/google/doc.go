// Package google is, for tests, what of Google's cloud a client of its registries meets: OAuth's token server, the Security Token Service, the
// impersonation of service accounts, the metadata service, and the sign-in of the registries. It checks the signature and the audience of each
// assertion.
package google
