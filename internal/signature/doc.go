// Package signature finds the signatures of an image and verifies them with public keys or with the identities of certificates, as cosign makes them:
//
//   - at the tag sha256-<hex>.sig, and attestations at sha256-<hex>.att (cosign before 3.0);
//   - as a referrer with the same content (cosign's OCI 1.1 mode);
//   - as a referrer that is a Sigstore bundle v0.3 with a DSSE envelope (cosign 3.0 and later, GitHub's attestations).
//
// Being found says nothing. What counts is what a signer has signed: the digest of the image, and what the statement says that it is. An
// attestation is no signature. Annotations and artifact types, which nobody signs, decide only what is looked at first.
//
// It also verifies signatures of files, as minisign, ssh-keygen and cosign sign-blob make them (file.go).
//
// What is fetched is bounded in number and size. An error means that something could not be looked at: it is no verdict.
package signature
