// Package imagelist finds the image references in files that deploy or build something: lists, Kubernetes manifests, compose files and
// Dockerfiles. It reads text only: it renders nothing, and resolves nothing but defaults that stand in the file itself.
package imagelist
