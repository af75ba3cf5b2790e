package image

import (
	"regexp"
	"sync"
)

// azureRegistry is the resource ID of a registry (Azure/acr documentation; names have 5 to 50 letters and digits).
var azureRegistry = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(?i:/subscriptions/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/resourceGroups/[-\w._()]{1,90}/providers/Microsoft\.ContainerRegistry/registries/[a-z0-9]{5,50})$`)
})

// IsAzureRegistry says whether id is the resource ID of a registry in Azure.
func IsAzureRegistry(id string) bool { return azureRegistry().MatchString(id) }
