package azure

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// resource finds a registry that somebody may do something with.
func (c *Cloud) resource(k call, group, name, action string) (*Registry, *Failure) {
	id := "/subscriptions/" + k.path[1] + "/resourceGroups/" + group + "/providers/Microsoft.ContainerRegistry/registries/" + name
	if !c.may(k.who.Object, action, id) {
		return nil, forbidden(k.who, action, id)
	}
	if r := c.byID(id); r != nil {
		return r, nil
	}
	return nil, resourceMissing(name, group)
}

// byID finds a registry by its resource ID.
func (c *Cloud) byID(id string) *Registry {
	for _, r := range c.all() {
		if strings.EqualFold(r.ID(), id) {
			return r
		}
	}
	return nil
}

// serveList answers with the registries that somebody may read: whole ones, or as the list of all resources has them.
func (c *Cloud) serveList(k call, group string, whole bool) *Failure {
	if failure := c.subscription(k.path[1]).listing(); failure != nil {
		return failure
	}
	var list []any
	for _, r := range c.all() {
		if strings.EqualFold(r.subscription.ID, k.path[1]) && (group == "" || strings.EqualFold(r.settings().Group, group)) &&
			c.may(k.who.Object, actionRead, r.ID()) {
			list = append(list, r.document(whole))
		}
	}
	query := k.r.URL.Query()
	if filter := query.Get("$filter"); !whole && filter != "" && !strings.Contains(strings.ToLower(filter), "microsoft.containerregistry/registries") {
		list = nil
	}
	skip, _ := strconv.Atoi(query.Get("$skiptoken")) // "" is 0
	list = list[min(skip, len(list)):]
	answer := map[string]any{}
	if size := c.options.PageSize; size > 0 && len(list) > size {
		list = list[:size]
		query.Set("$skiptoken", strconv.Itoa(skip+size))
		answer["nextLink"] = origin(k.r) + (&url.URL{Path: k.r.URL.Path, RawQuery: query.Encode()}).String()
	}
	answer["value"] = slices.Concat([]any{}, list) // never null
	writeJSON(k.w, http.StatusOK, answer)
	return nil
}

// asked is the login server that a query of Resource Graph is about.
var asked = regexp.MustCompile(`^resources\b.*\bproperties\.loginServer =~ '([^']+)'`)

// serveGraph answers Resource Graph's query for a registry by its login server, in all subscriptions of the tenant. It understands no other.
func (c *Cloud) serveGraph(k call) *Failure {
	var query struct {
		Query string `json:"query"`
	}
	if err := json.NewDecoder(k.r.Body).Decode(&query); err != nil || !asked.MatchString(query.Query) {
		return &Failure{Code: "BadRequest", Message: "Please provide below info when asking for support."}
	}
	wanted := asked.FindStringSubmatch(query.Query)[1]
	data := []any{}
	for _, r := range c.all() {
		if strings.EqualFold(r.LoginServer(), wanted) && strings.EqualFold(r.subscription.tenant.ID, k.who.Tenant) && c.may(k.who.Object, actionRead, r.ID()) {
			data = append(data, map[string]string{"id": r.ID(), "loginServer": r.LoginServer()})
		}
	}
	writeJSON(k.w, http.StatusOK, map[string]any{"totalRecords": len(data), "count": len(data), "data": data, "facets": []any{}, "resultTruncated": "false"})
	return nil
}

// serveSubscriptions answers with one subscription or all of the caller's tenant.
func (c *Cloud) serveSubscriptions(k call) {
	c.mu.Lock()
	var names []string
	for name, s := range c.subscriptions {
		if strings.EqualFold(s.tenant.ID, k.who.Tenant) && (len(k.low) == 1 || k.low[1] == name) {
			names = append(names, s.ID)
		}
	}
	c.mu.Unlock()
	slices.Sort(names)
	list := []any{}
	for _, name := range names {
		list = append(list, map[string]any{
			"id": "/subscriptions/" + name, "subscriptionId": name, "tenantId": k.who.Tenant, "displayName": "Subscription " + name[:min(8, len(name))],
			"state": "Enabled", "authorizationSource": "RoleBased", "managedByTenants": []any{},
			"subscriptionPolicies": map[string]string{"locationPlacementId": "Public_2014-09-01", "quotaId": "PayAsYouGo_2014-09-01", "spendingLimit": "Off"},
		})
	}
	if len(k.low) == 2 {
		writeJSON(k.w, http.StatusOK, list[0]) // admit has seen that it is there
		return
	}
	writeJSON(k.w, http.StatusOK, map[string]any{"value": list, "count": map[string]any{"type": "Total", "value": len(list)}})
}

// document is the resource; whole has its properties.
func (r *Registry) document(whole bool) map[string]any {
	o := r.settings()
	d := map[string]any{
		"id": r.ID(), "name": o.Name, "type": "Microsoft.ContainerRegistry/registries", "location": o.Location,
		"sku": map[string]string{"name": o.SKU, "tier": o.SKU}, "tags": map[string]string{},
	}
	if !whole {
		return d
	}
	word := func(off bool, yes, no string) string {
		if off {
			return no
		}
		return yes
	}
	status := func(off bool) map[string]string { return map[string]string{"status": word(off, "enabled", "disabled")} }
	d["properties"] = map[string]any{
		"loginServer": r.LoginServer(), "creationDate": "2024-05-22T03:14:47.721542Z", "provisioningState": "Succeeded",
		"adminUserEnabled": o.AdminPassword != "", "anonymousPullEnabled": o.AnonymousPull, "dataEndpointEnabled": false,
		"networkRuleSet":      map[string]any{"defaultAction": word(o.NoPublicAccess, "Allow", "Deny"), "ipRules": []any{}},
		"publicNetworkAccess": word(o.NoPublicAccess, "Enabled", "Disabled"), "networkRuleBypassOptions": word(o.NoTrustedServices, "AzureServices", "None"),
		"policies": map[string]any{
			"exportPolicy": status(o.NoExport), "azureADAuthenticationAsArmPolicy": status(o.NoManagementTokens),
			"quarantinePolicy": status(true), "trustPolicy": map[string]string{"type": "Notary", "status": "disabled"},
			"retentionPolicy": map[string]any{"days": 7, "status": "disabled"}, "softDeletePolicy": map[string]any{"retentionDays": 7, "status": "disabled"},
		},
		"encryption": status(true), "zoneRedundancy": "Disabled", "roleAssignmentMode": "LegacyRegistryPermissions",
		"privateEndpointConnections": []any{},
	}
	return d
}

// serveEndpoints describes the cloud to clients that are told its Resource Manager only, as "az cloud register" is.
func (c *Cloud) serveEndpoints(w http.ResponseWriter, r *http.Request) {
	o, here := c.options.Domains, origin(r)
	login, audiences := "https://"+o.Login, slices.Clone(o.Audiences)
	if r.Host != o.Management {
		login, audiences = here, slices.Insert(audiences, 0, here)
	}
	cloud := map[string]any{
		"name": "Emulator", "portal": here, "resourceManager": here + "/", "graph": here, "graphAudience": here, "batch": here, "gallery": here + "/",
		"media": here, "microsoftGraphResourceId": here, "sqlManagement": here, "activeDirectoryDataLake": here, "vmImageAliasDoc": here,
		"authentication": map[string]any{
			"loginEndpoint": login, "audiences": audiences, "tenant": "common", "identityProvider": "AAD",
		},
		"suffixes": map[string]string{
			"acrLoginServer": o.Registry, "containerRegistryLoginServer": "." + o.Registry, "storage": "core.windows.net", "keyVaultDns": "vault.azure.net",
			"sqlServerHostname": "database.windows.net",
		},
	}
	if version := r.URL.Query().Get("api-version"); version < "2019" { // the versions are dates
		writeJSON(w, http.StatusOK, map[string]any{
			"galleryEndpoint": here + "/", "graphEndpoint": here, "portalEndpoint": here,
			"authentication": map[string]any{"loginEndpoint": login, "audiences": audiences},
		})
		return
	}
	writeJSON(w, http.StatusOK, []any{cloud})
}
