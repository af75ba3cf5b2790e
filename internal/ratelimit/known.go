package ratelimit

import "github.com/draysync/dray/internal/image"

// Known returns what is known about a registry's limits without a request or a config.
//
//   - Docker Hub counts pulls, and says how many in its answers (https://docs.docker.com/docker-hub/usage/pulls/).
//   - Quay's own configuration of its proxy allows 50 requests a second to manifests and to blobs each (conf/nginx in quay/quay).
//   - Amazon ECR Public allows 10 reads a second to those who sign in; a private registry 100 starts of an upload a second, the least of
//     what a copy does often (https://docs.aws.amazon.com/AmazonECR/latest/userguide/service-quotas.html).
//   - registry.k8s.io stands before a registry that allows 83 requests a second to an address (kubernetes/registry.k8s.io#153).
func Known(registry string) Rule {
	ecr, isECR := image.ParseECR(registry)
	switch {
	case registry == "docker.io":
		return Rule{Metered: true}
	case registry == "quay.io":
		return Rule{PerSecond: 45}
	case ecr.Public:
		return Rule{PerSecond: 10}
	case registry == "registry.k8s.io":
		return Rule{PerSecond: 75}
	case isECR:
		return Rule{PerSecond: 90}
	}
	return Rule{}
}
