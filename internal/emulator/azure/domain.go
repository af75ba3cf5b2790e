package azure

import "strings"

// Domains are the host names of a cloud. The zero value is Azure's public one.
type Domains struct {
	Management string // host of the Resource Manager
	Login      string // host of Entra
	Registry   string // suffix of login servers, without a dot in front
	// Audiences are the resources that a token for the Resource Manager may be for, without a slash at the end.
	Audiences []string
}

// PublicDomains are those of Azure's public cloud.
func PublicDomains() Domains {
	return Domains{
		Management: "management.azure.com", Login: "login.microsoftonline.com", Registry: "azurecr.io",
		Audiences: []string{"https://management.azure.com", "https://management.core.windows.net"},
	}
}

// ChinaDomains are those of Azure operated by 21Vianet.
func ChinaDomains() Domains {
	return Domains{
		Management: "management.chinacloudapi.cn", Login: "login.chinacloudapi.cn", Registry: "azurecr.cn",
		Audiences: []string{"https://management.chinacloudapi.cn", "https://management.core.chinacloudapi.cn"},
	}
}

// GovernmentDomains are those of Azure for the government of the United States.
func GovernmentDomains() Domains {
	return Domains{
		Management: "management.usgovcloudapi.net", Login: "login.microsoftonline.us", Registry: "azurecr.us",
		Audiences: []string{"https://management.usgovcloudapi.net", "https://management.core.usgovcloudapi.net"},
	}
}

// metadataHost is where a virtual machine asks for its identity's tokens.
const metadataHost = "169.254.169.254"

// registryAudience is what a token for the data plane of any registry is for, in all clouds.
const registryAudience = "https://containerregistry.azure.net"

// audience brings a resource or a scope to the form of Domains.Audiences.
func audience(resource string) string {
	return strings.TrimRight(strings.TrimSuffix(resource, "/.default"), "/")
}
