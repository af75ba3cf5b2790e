package config

import (
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"regexp"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/draysync/dray/internal/image"
)

// Azure has the settings of the Azure cloud.
type Azure struct {
	// Set says that the config has Azure settings.
	Set bool
	// Everywhere treats each registry of the cloud as one of ours, even without an entry; no file can set it.
	Everywhere bool
	// Cloud is public, china, usgov, or empty where Hosts says more.
	Cloud      string
	Hosts      AzureHosts
	Credential AzureCredential
	// Parallel is the maximum of concurrent imports per registry, Rate of imports started per second, Timeout the time limit of one; all
	// are positive.
	Parallel, Rate int
	Timeout        time.Duration
}

// Issues reports whether a registry has the cloud's suffix.
func (a Azure) Issues(registry string) bool {
	suffix, ok := map[string]string{"public": "azurecr.io", "china": "azurecr.cn", "usgov": "azurecr.us"}[a.Cloud]
	if !ok {
		suffix = a.Hosts.RegistrySuffix
	}
	return suffix != "" && strings.HasSuffix(registry, "."+suffix)
}

// DefaultAzure returns the settings of a config without a section for Azure.
func DefaultAzure() Azure {
	b := &builder{}
	return b.azure(&azureSection{})
}

// AzureHosts are the hosts of a custom Azure cloud; URLs are https and have no path.
type AzureHosts struct {
	ARMEndpoint, ARMAudience, AuthorityHost, RegistrySuffix string
	CAFile                                                  string
}

// AzureCredential says how to sign in to Azure.
type AzureCredential struct {
	Kind                string
	TenantID, ClientID  string
	ClientSecret        Secret
	CertificateFile     string
	CertificatePassword Secret
}

// RegistryAzure says that a registry is an Azure Container Registry.
type RegistryAzure struct {
	// ResourceID is empty if dray has to look up the registry.
	ResourceID string
	// DataPlane is auto, required or none.
	DataPlane string
}

// Engine names the engine that imports the images of a mapping.
type Engine string

// The engines; auto uses acr if possible.
const (
	EngineAuto Engine = "auto"
	EngineCopy Engine = "copy"
	EngineACR  Engine = "acr"
)

// Engines returns the engines that a mapping may name, including auto.
func Engines() []string {
	field, _ := reflect.TypeFor[options]().FieldByName("Engine")
	return split(field.Tag.Get("enum"))
}

// decode reads the name of a cloud, or its hosts.
func (c *cloudSection) decode(w *walker, n *yaml.Node, at origin, _ reflect.StructTag) {
	if n.Kind == yaml.MappingNode {
		w.object(c, n, at, "")
		return
	}
	var name text
	name.decode(w, n, at, reflect.StructTag(`enum:"public|china|usgov"`))
	c.origin, c.name = name.origin, name.value
}

func (c *cloudSection) preset(value string) { c.name = value }

func (b *builder) azure(s *azureSection) Azure {
	preset(reflect.ValueOf(&s.Credential).Elem())
	preset(reflect.ValueOf(&s.Import).Elem())
	preset(reflect.ValueOf(s).Elem())
	c := s.Credential
	a := Azure{
		Set: s.set, Cloud: s.Cloud.name, Parallel: s.Import.Parallel.value, Rate: s.Import.Rate.value, Timeout: b.duration(s.Import.Timeout),
		Credential: AzureCredential{
			Kind: c.Kind.value, TenantID: c.TenantID.value, ClientID: c.ClientID.value, ClientSecret: Secret(c.ClientSecret.value),
			CertificateFile: b.file(c.CertificateFile), CertificatePassword: Secret(c.CertificatePassword.value),
		},
	}
	b.credentialKind(c)
	if h := s.Cloud; h.name == "" {
		a.Hosts = AzureHosts{
			ARMEndpoint: h.ARMEndpoint.value, ARMAudience: h.ARMAudience.value, AuthorityHost: h.AuthorityHost.value,
			RegistrySuffix: h.RegistrySuffix.value, CAFile: b.file(h.CAFile),
		}
		for _, t := range []text{h.ARMEndpoint, h.ARMAudience, h.AuthorityHost} {
			b.httpsURL(t)
		}
		if t := h.RegistrySuffix; t.set && !registrySuffix.MatchString(t.value) {
			b.invalid(t, fmt.Errorf("%s is not a suffix of hosts: write one such as azurecr.io, without a leading dot", quote(t.raw)), "a suffix of hosts, such as azurecr.io")
		}
	}
	return a
}

var registrySuffix = regexp.MustCompile(`^[a-z0-9-]+(?:\.[a-z0-9-]+)+$`)

// httpsURL checks a URL without a path.
func (b *builder) httpsURL(t text) {
	u, err := url.Parse(strings.TrimSuffix(t.value, "/"))
	if t.set && (err != nil || u.Scheme != "https" || u.Hostname() == "" || u.Path != "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.HasSuffix(t.value, "//")) {
		b.invalid(t, fmt.Errorf("%s is not a URL of the form https://HOST", quote(t.raw)), "a URL of the form https://HOST")
	}
}

// credentialKind checks that a credential has the fields that its kind requires.
func (b *builder) credentialKind(c azureCredentialSection) {
	needs := map[string][]struct {
		key string
		text
	}{
		"client-secret":      {{"tenantID", c.TenantID}, {"clientID", c.ClientID}, {"clientSecret", c.ClientSecret}},
		"client-certificate": {{"tenantID", c.TenantID}, {"clientID", c.ClientID}, {"certificateFile", c.CertificateFile}},
	}
	for _, need := range needs[c.Kind.value] {
		if !need.set {
			b.fail(c.Kind.origin, fmt.Errorf("%s requires %s", quote(c.Kind.raw), need.key), "")
		}
	}
	if c.ClientSecret.set && c.Kind.value != "client-secret" {
		b.fail(c.ClientSecret.origin, errors.New("is used by the kind client-secret only"), "write kind: client-secret")
	}
	if c.CertificateFile.set && c.Kind.value != "client-certificate" {
		b.fail(c.CertificateFile.origin, errors.New("is used by the kind client-certificate only"), "write kind: client-certificate")
	}
}

func (b *builder) registryAzure(s registryAzureSection) *RegistryAzure {
	if !s.origin.set {
		return nil
	}
	if t := s.ResourceID; t.set && !image.IsAzureRegistry(t.value) {
		b.invalid(t, fmt.Errorf("%s is not the resource ID of a registry: it has the form /subscriptions/…/resourceGroups/…/providers/Microsoft.ContainerRegistry/registries/NAME, as `az acr show --name NAME --query id` tells", quote(t.raw)),
			"the resource ID of a registry")
	}
	return &RegistryAzure{ResourceID: s.ResourceID.value, DataPlane: s.DataPlane.value}
}

// engine reads the engine, and checks that acr can do the imports.
func (b *builder) engine(s *mappingSection, m *Mapping, registries map[string]Registry) {
	all := b.all
	m.Engine = Engine(all.Engine.value)
	m.ResolveServer = all.Resolve.value == "server"
	if m.ResolveServer && m.Engine != EngineACR {
		b.fail(all.Resolve.origin, errors.New("server needs engine: acr, since nobody else can ask the source"), "write engine: acr")
	}
	if m.ResolveServer && s.Source.set && !m.Source.IsZero() {
		if _, literal := m.Tags.Literals(); m.Source.Digest != "" || m.Source.Tag == "" && !literal {
			b.fail(all.Resolve.origin, errors.New("server needs tags by name, since the source's list cannot be read from here"), "name the tags")
		}
	}
	if m.Engine != EngineACR {
		return
	}
	at := all.Engine.origin
	if len(m.Platforms) > 0 {
		b.fail(at, errors.New("acr imports all platforms of an image, but the mapping keeps only some"), "remove platforms, or write engine: copy")
	}
	if m.Source.IsLayout() {
		b.fail(at, errors.New("acr imports from registries, and the source is a folder"), "write engine: copy")
	}
	for _, target := range m.Targets {
		if registries[target.Registry].Azure == nil && !b.cloud.Issues(target.Registry) {
			b.fail(at, fmt.Errorf("acr needs to know that %s is an Azure Container Registry", quote(target.Registry)), "write registries."+target.Registry+": {azure: {}}")
			break
		}
	}
}

// untagged checks a mapping whose targets have no tag.
func (b *builder) untagged(s *mappingSection, m *Mapping) {
	if own := s.Untagged; own.set && own.value && !m.Source.IsZero() && (m.Source.Digest == "" || m.Source.Tag != "") {
		b.fail(own.origin, errors.New("is for a source with a digest and without a tag"), "remove it, or write the source as repository@sha256:…")
	}
}

// mayBeUntagged reports whether a target of the mapping needs no tag.
func (b *builder) mayBeUntagged(source, target image.Reference) bool {
	return b.all.Untagged.value && source.Digest != "" && source.Tag == "" && !target.IsLayout()
}
