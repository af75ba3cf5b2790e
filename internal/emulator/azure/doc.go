// Package azure is an Azure for tests, inside this process: a Resource Manager that imports images into container
// registries, the registries, the sign-in, and the metadata service of a virtual machine.
//
// A [Cloud] answers for many hosts: in process through [Cloud.Transport], over loopback through [Cloud.StartTLS] (one host
// a port) or through [Cloud.StartProxy] (all hosts under their real names, for clients that go through a proxy).
//
// What is real: an import moves manifests and blobs between the emulated registries, and from hosts outside of Azure by
// HTTP with its own sign-in; a tag of the source is resolved before the copying and again when the target is tagged, so
// that a push in between leaves a tag without a manifest; Force moves a locked tag; the shape of Location, bodies, headers
// and error texts is that of recorded exchanges and public reports; tokens are JWTs that expire, and each is good for its
// audience only. Roles decide who may read, import, pull and push.
//
// What is simplified or not established: tokens are signed by HMAC and only this package can check them; certificates sign
// in with RSA keys only; an import that fails says so with 400 (409 for a conflict), where no recording has shown the
// status; the texts for a missing source manifest, too many manifests, a lack of space and an unknown host are made up in the
// grammar of those that were seen; roles are not inherited by ABAC conditions; a lock of a whole repository does not exist; geo-replication
// is a delay ([Behavior.Lag]); a signature of a Location is checked, its certificate is filler.
package azure
