package azure

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// Cloud is an Azure cloud, such as the public one. Each has its own hosts. The URLs have no path; a slash at the end is fine.
type Cloud struct {
	// ARMEndpoint is the URL of Resource Manager.
	ARMEndpoint string
	// ARMAudience is the resource that tokens for it are for; the scope is this followed by "/.default".
	ARMAudience string
	// AuthorityHost is the URL of Entra.
	AuthorityHost string
	// RegistrySuffix is the suffix of login servers, without a leading dot. Tokens for registries are sent to no other host.
	RegistrySuffix string
}

// PublicCloud is the name of the public cloud.
const PublicCloud = "public"

// CloudNames returns the names of Microsoft's own clouds.
func CloudNames() []string { return []string{PublicCloud, "china", "usgov"} }

// CloudNamed returns one of [CloudNames].
func CloudNamed(name string) (Cloud, bool) {
	switch name {
	case PublicCloud:
		return Cloud{"https://management.azure.com", "https://management.core.windows.net/", publicAuthority, "azurecr.io"}, true
	case "china":
		return Cloud{"https://management.chinacloudapi.cn", "https://management.core.chinacloudapi.cn/", chinaAuthority, "azurecr.cn"}, true
	case "usgov":
		return Cloud{"https://management.usgovcloudapi.net", "https://management.core.usgovcloudapi.net/", usgovAuthority, "azurecr.us"}, true
	}
	return Cloud{}, false
}

const (
	publicAuthority = "https://login.microsoftonline.com/"
	chinaAuthority  = "https://login.chinacloudapi.cn/"
	usgovAuthority  = "https://login.microsoftonline.us/"
)

// known reports whether Entra's public directory of clouds has this authority. The directory must not be queried for others, since an
// isolated cloud cannot reach it.
func (c Cloud) known() bool {
	switch strings.TrimRight(c.AuthorityHost, "/") + "/" {
	case publicAuthority, chinaAuthority, usgovAuthority:
		return true
	}
	return false
}

// armScope returns the scope of tokens for Resource Manager. Entra requires that an audience keeps its trailing slash.
func (c Cloud) armScope() string { return c.ARMAudience + "/.default" }

// registryScope is the scope of tokens for the data plane of registries, the same in all clouds. A registry can be configured to refuse
// tokens for Resource Manager, but not these.
const registryScope = "https://containerregistry.azure.net/.default"

var (
	registryHost = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$`)
	suffixForm   = regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9-]+)+$`)
	regional     = regexp.MustCompile(`^([a-z0-9-]+)\.[a-z0-9]+\.geo\.`)
)

// LoginServer returns a host as Resource Manager writes it: in lower case, and without the region of a regional endpoint
// (NAME.REGION.geo.azurecr.io). ok is false for a host that is not a registry of this cloud.
func (c Cloud) LoginServer(host string) (loginServer string, ok bool) {
	host = strings.ToLower(host)
	name, found := strings.CutSuffix(host, "."+c.RegistrySuffix)
	if !found || name == "" || c.RegistrySuffix == "" || !registryHost.MatchString(host) {
		return "", false
	}
	if rest := regional.ReplaceAllString(host, "$1."); strings.HasSuffix(rest, "."+c.RegistrySuffix) {
		host = rest
	}
	return host, true
}

// endpoint checks the cloud, and returns Resource Manager's URL.
func (c Cloud) endpoint() (*url.URL, error) {
	arm, err := httpsURL("Resource Manager's endpoint", c.ARMEndpoint)
	if err != nil {
		return nil, err
	}
	if _, err := httpsURL("Entra's authority host", c.AuthorityHost); err != nil {
		return nil, err
	}
	if c.ARMAudience == "" {
		return nil, fmt.Errorf("the cloud has no audience for Resource Manager tokens")
	}
	if !suffixForm.MatchString(c.RegistrySuffix) {
		return nil, fmt.Errorf("%q is not a registry suffix: want one like azurecr.io", c.RegistrySuffix)
	}
	return arm, nil
}

func httpsURL(what, text string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimRight(text, "/"))
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.Path != "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("%s is not a URL of the form https://HOST", what)
	}
	return u, nil
}
