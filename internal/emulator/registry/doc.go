// Package registry is an OCI registry inside this process, for tests and for the demo.
//
// A [Registry] is an http.Handler that keeps its content in memory and behaves as the real ones do where it matters to
// a client: blobs belong to a repository, a manifest is refused while something under it is missing, an upload's
// Location carries a query, lists are paged by Link. A [Gate] stands before it and before a [Proxy]: it logs every
// request and breaks those it is told to break ([Fault]). A [Process] is a real registry, Debian's docker-registry,
// to check the rest against. Where real registries differ from the spec, [Options] has a switch: tokens ([Auth]), lists
// ([ListOptions]), HEAD ([HeadOptions]), uploads ([UploadOptions]), stores behind redirects ([Store]). [MultiArch] and [Corpus] make content, the same for the same seed.
//
// It is not built on go-containerregistry's pkg/registry: there blobs are shared by all repositories, one lock is held
// while a client sends an upload's body (which serializes what benchmarks want parallel, and stops the clock of a
// synctest bubble), a tag list asked for last= behind the end starts anew, and deleting a manifest leaves its tags.
// Here no lock is held while bytes travel.
package registry
