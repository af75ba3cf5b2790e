// Package wire sends HTTP requests to one registry, and to where that leads. It knows of TLS and proxies, of slots among the
// requests in flight, of tries and their pauses, and of silence. It knows nothing of tokens, and of the distribution API no more than
// what a [Call] says of a request.
package wire
