// Package aws is, for tests, what of AWS a client of Amazon ECR meets: STS, the credentials of containers and of instances, ECR's API, and the
// sign-in of its registries. It checks the signature of each request.
package aws
