// Package serve is a read-only registry over OCI image layouts (OCI distribution spec, pull and content discovery).
//
// # Names
//
// A layout is served under the name that it was given, or that of its folder. Layouts below a folder have their paths below it. An image
// whose name in index.json is a full one, such as docker.io/library/alpine:3.20, is served under that too. Where a name leads to several
// layouts, the first one has it.
//
// A client that asks a mirror says by ?ns= which registry it means (OCI distribution spec, "Registry Proxying"). The repositories of that
// registry are those below the registry's own name, without its port, or below another prefix that was given. Nothing is fetched from
// elsewhere.
//
// # What is promised
//
// Manifests and blobs are served as they are stored, and never converted. The index.json of a layout is read again when it has changed, and
// each answer is made from one reading of it. No answer is whole if its bytes do not match their digest: a manifest and a part of a blob are
// sent after all was read once, and a whole blob is read while it is sent, its end last. A damaged file is absent from then on. A symbolic
// link that leads out of a layout is not followed.
//
// # What bounds it
//
// At most 1024 connections are served at once. When all slots are taken, the connection that has idled longest gives up its slot, and others
// wait to be accepted. Headers must have come within 10 s and be below 16 KiB. No body is read. A MiB of an answer must have been taken
// within a minute. A list has at most 10,000 entries, and says where the next ones are.
package serve
