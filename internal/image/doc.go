// Package image has the OCI types as comparable values: == means the same thing, and each can be a map key. References are canonical:
// "alpine", "docker.io/alpine" and "index.docker.io/library/alpine" are one value.
package image
