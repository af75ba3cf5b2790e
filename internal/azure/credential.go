package azure

import (
	"errors"
	"fmt"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/draysync/dray/internal/file"
)

// The kinds of a [Credential].
const (
	// KindDefault takes the first that works: what the environment names, workload identity, managed identity, Azure CLI, azd,
	// PowerShell. AZURE_TOKEN_CREDENTIALS narrows it.
	KindDefault           = "default"
	KindWorkloadIdentity  = "workload-identity"
	KindManagedIdentity   = "managed-identity"
	KindClientSecret      = "client-secret"
	KindClientCertificate = "client-certificate"
	KindAzureCLI          = "azure-cli"
)

// Credential is how to sign in. What a kind does not need is ignored; what workload-identity needs and is not given comes from
// the environment, as AKS sets it.
type Credential struct {
	// Kind is one of the constants; empty is [KindDefault].
	Kind     string
	TenantID string
	// ClientID names the application, or a user-assigned managed identity.
	ClientID     string
	ClientSecret string `json:"-"`
	// CertificateFile is PEM or PKCS#12, with the key in it. It is read again after a sign-in that failed.
	CertificateFile     string
	CertificatePassword string `json:"-"`
	// TokenFile has the token of a Kubernetes service account, which Kubernetes replaces before it lapses.
	TokenFile string
	// ResourceID names a user-assigned managed identity where ClientID does not.
	ResourceID string
}

// String says which credential it is, without secrets.
func (c Credential) String() string {
	text := c.kind()
	if c.TenantID != "" {
		text += " tenant=" + c.TenantID
	}
	if c.ClientID != "" {
		text += " client=" + c.ClientID
	}
	return text
}

// GoString is String: %#v shows no secrets either.
func (c Credential) GoString() string { return c.String() }

func (c Credential) kind() string {
	if c.Kind == "" {
		return KindDefault
	}
	return c.Kind
}

// check finds what is missing without reading anything.
func (c Credential) check() error {
	need := map[string]string{}
	switch c.kind() {
	case KindDefault, KindWorkloadIdentity, KindManagedIdentity, KindAzureCLI:
	case KindClientSecret:
		need = map[string]string{"tenant ID": c.TenantID, "client ID": c.ClientID, "client secret": c.ClientSecret}
	case KindClientCertificate:
		need = map[string]string{"tenant ID": c.TenantID, "client ID": c.ClientID, "certificate file": c.CertificateFile}
	default:
		return fmt.Errorf("%q is no kind of Azure credential", c.Kind)
	}
	for _, what := range []string{"tenant ID", "client ID", "client secret", "certificate file"} {
		if value, needed := need[what]; needed && value == "" {
			return fmt.Errorf("the Azure credential %s needs a %s", c.kind(), what)
		}
	}
	return nil
}

// build makes azidentity's form of it. That calls nobody, but reads a certificate's file.
func (c Credential) build(client azcore.ClientOptions, isolated bool) (azcore.TokenCredential, error) {
	switch c.kind() {
	case KindWorkloadIdentity:
		return azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{
			ClientOptions: client, DisableInstanceDiscovery: isolated, ClientID: c.ClientID, TenantID: c.TenantID, TokenFilePath: c.TokenFile,
		})
	case KindManagedIdentity:
		options := &azidentity.ManagedIdentityCredentialOptions{ClientOptions: client}
		switch {
		case c.ClientID != "":
			options.ID = azidentity.ClientID(c.ClientID)
		case c.ResourceID != "":
			options.ID = azidentity.ResourceID(c.ResourceID)
		}
		return azidentity.NewManagedIdentityCredential(options)
	case KindClientSecret:
		return azidentity.NewClientSecretCredential(c.TenantID, c.ClientID, c.ClientSecret, &azidentity.ClientSecretCredentialOptions{
			ClientOptions: client, DisableInstanceDiscovery: isolated,
		})
	case KindClientCertificate:
		return c.buildCertificate(client, isolated)
	case KindAzureCLI:
		return azidentity.NewAzureCLICredential(&azidentity.AzureCLICredentialOptions{TenantID: c.TenantID})
	}
	return azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{
		ClientOptions: client, DisableInstanceDiscovery: isolated, TenantID: c.TenantID,
	})
}

// maxCertificate is the largest file of a certificate that is read, in bytes.
const maxCertificate = 16 << 20

func (c Credential) buildCertificate(client azcore.ClientOptions, isolated bool) (azcore.TokenCredential, error) {
	data, err := file.Read(c.CertificateFile, maxCertificate)
	if err != nil {
		return nil, err
	}
	certificates, key, err := azidentity.ParseCertificates(data, []byte(c.CertificatePassword))
	if err != nil {
		// azidentity's own text may quote the data
		return nil, errors.New("the certificate's file has no certificate with its private key in PEM or PKCS#12, or the password is wrong")
	}
	return azidentity.NewClientCertificateCredential(c.TenantID, c.ClientID, certificates, key, &azidentity.ClientCertificateCredentialOptions{
		ClientOptions: client, DisableInstanceDiscovery: isolated,
	})
}
