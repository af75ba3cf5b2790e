// Package transfer is the engine "copy": it walks the graph of an image and moves what the target lacks, each blob once.
//
// The order is what keeps a target whole: blobs first, then the manifests of the platforms, then the index, then what refers
// to the image, and the tag last. A crash at any moment leaves the tag as it was.
package transfer
