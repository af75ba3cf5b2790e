// Package wire sends HTTP requests to one registry and to the hosts that it leads to. It handles TLS, proxies, slots in flight, retries and
// stalled connections. It knows nothing about tokens, and of the distribution API only what a [Call] says.
package wire
