// Package transfer is the engine "copy": it walks the graph of an image and copies what the target lacks, each blob once.
//
// The order keeps a target complete: first blobs, then the manifests of the platforms, the index, the attachments, and the tag last. A
// crash at any moment leaves the tag as it was.
package transfer
