// Package registry talks to registries by the OCI distribution spec, and to OCI image layouts through package layout.
//
// It stands on regclient for the protocol and for authentication, and keeps for itself what happens below: every request
// goes through a transport of this package, one for each registry, which applies TLS settings and the limit of requests in
// flight, retries what may pass, and turns every final failure into an [*Error]. regclient sees only final answers, because
// its own backoff queues all requests to a host behind the slowest.
package registry
