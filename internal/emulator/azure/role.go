package azure

import (
	"slices"
	"strings"
)

// Role is a built-in role of Azure.
type Role string

// The roles that matter to imports.
const (
	Reader       Role = "Reader"
	Contributor  Role = "Contributor"
	DataImporter Role = "Container Registry Data Importer and Data Reader"
	AcrPull      Role = "AcrPull"
	// ImportOnly is no built-in role, but one of somebody's own: the least that an import takes.
	ImportOnly Role = "Import only"
	AcrPush    Role = "AcrPush"
	AcrDelete  Role = "AcrDelete"
)

// The actions that roles allow, without the provider's prefix.
const (
	actionRead   = "registries/read"
	actionImport = "registries/importImage/action"
	actionPull   = "registries/pull/read"
	actionPush   = "registries/push/write"
	actionDelete = "registries/artifacts/delete"
)

// provider is what actions and resource types begin with.
const provider = "Microsoft.ContainerRegistry/"

// actions are what a role allows. AcrPull and AcrPush do not allow to read the resource, which is why they are not enough
// for an import.
func (r Role) actions() []string {
	switch r {
	case Reader:
		return []string{actionRead, actionPull}
	case DataImporter:
		return []string{actionRead, actionImport, actionPull}
	case ImportOnly:
		return []string{actionRead, actionImport}
	case AcrPull:
		return []string{actionPull}
	case AcrPush:
		return []string{actionPull, actionPush}
	case AcrDelete:
		return []string{actionDelete}
	case Contributor:
		return []string{actionRead, actionImport, actionPull, actionPush, actionDelete}
	}
	return nil
}

// grant is a role assignment.
type grant struct {
	object string // the principal's object ID
	scope  string // lower case
	role   Role
}

// Grant assigns a role on a scope and everything below it: the ID of a registry, of a resource group or of a subscription.
func (a *App) Grant(scope string, role Role) {
	a.cloud.mu.Lock()
	defer a.cloud.mu.Unlock()
	a.cloud.grants = append(a.cloud.grants, grant{a.ObjectID, strings.ToLower(strings.TrimRight(scope, "/")), role})
}

// Ungrant takes all roles on the scope away.
func (a *App) Ungrant(scope string) {
	a.cloud.mu.Lock()
	defer a.cloud.mu.Unlock()
	scope = strings.ToLower(strings.TrimRight(scope, "/"))
	a.cloud.grants = slices.DeleteFunc(a.cloud.grants, func(g grant) bool { return g.object == a.ObjectID && g.scope == scope })
}

// may says whether a principal may do something with a resource.
func (c *Cloud) may(object, action, resource string) bool {
	resource = strings.ToLower(resource) + "/"
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(c.grants, func(g grant) bool {
		return g.object == object && strings.HasPrefix(resource, g.scope+"/") && slices.Contains(g.role.actions(), action)
	})
}
