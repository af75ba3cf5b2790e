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
	// KindDefault uses the first that works: environment variables, workload identity, managed identity, Azure CLI, azd, PowerShell.
	// AZURE_TOKEN_CREDENTIALS narrows it.
	KindDefault           = "default"
	KindWorkloadIdentity  = "workload-identity"
	KindManagedIdentity   = "managed-identity"
	KindClientSecret      = "client-secret"
	KindClientCertificate = "client-certificate"
	KindAzureCLI          = "azure-cli"
)

// Credential says how to sign in. Fields that a kind does not need are ignored; fields that workload-identity needs but lacks come from the
// environment variables that AKS sets.
type Credential struct {
	// Kind is one of the constants; empty is [KindDefault].
	Kind     string
	TenantID string
	// ClientID names the application, or a user-assigned managed identity.
	ClientID     string
	ClientSecret string `json:"-"`
	// CertificateFile is a PEM or PKCS#12 file with certificate and key. It is read again after a failed sign-in.
	CertificateFile     string
	CertificatePassword string `json:"-"`
	// TokenFile has the token of a Kubernetes service account, which Kubernetes replaces before it expires.
	TokenFile string
	// ResourceID names a user-assigned managed identity if ClientID is empty.
	ResourceID string
}

// String describes the credential, without secrets.
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

// GoString returns the same as String, so that %#v shows no secrets either.
func (c Credential) GoString() string { return c.String() }

func (c Credential) kind() string {
	if c.Kind == "" {
		return KindDefault
	}
	return c.Kind
}

// check returns an error if a required field is missing. It reads no file.
func (c Credential) check() error {
	need := map[string]string{}
	switch c.kind() {
	case KindDefault, KindWorkloadIdentity, KindManagedIdentity, KindAzureCLI:
	case KindClientSecret:
		need = map[string]string{"tenant ID": c.TenantID, "client ID": c.ClientID, "client secret": c.ClientSecret}
	case KindClientCertificate:
		need = map[string]string{"tenant ID": c.TenantID, "client ID": c.ClientID, "certificate file": c.CertificateFile}
	default:
		return fmt.Errorf("%q is not a kind of Azure credential", c.Kind)
	}
	for _, what := range []string{"tenant ID", "client ID", "client secret", "certificate file"} {
		if value, needed := need[what]; needed && value == "" {
			return fmt.Errorf("the Azure credential %s needs a %s", c.kind(), what)
		}
	}
	return nil
}

// build returns the credential as azidentity's type. It sends no request, but reads the certificate file.
func (c Credential) build(client azcore.ClientOptions, isolated bool) (azcore.TokenCredential, error) {
	switch c.kind() {
	case KindWorkloadIdentity:
		return azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{
			ClientOptions: client, DisableInstanceDiscovery: isolated, ClientID: c.ClientID, TenantID: c.TenantID, TokenFilePath: c.TokenFile,
		})
	case KindManagedIdentity:
		client.Retry.TryTimeout = metadataTry
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

// maxCertificate is the size limit of a certificate file, in bytes.
const maxCertificate = 16 << 20

func (c Credential) buildCertificate(client azcore.ClientOptions, isolated bool) (azcore.TokenCredential, error) {
	data, err := file.Read(c.CertificateFile, maxCertificate)
	if err != nil {
		return nil, err
	}
	certificates, key, err := azidentity.ParseCertificates(data, []byte(c.CertificatePassword))
	if err != nil {
		// azidentity's own text may quote the data
		return nil, errors.New("the certificate file does not hold a certificate with its private key in PEM or PKCS#12, or the password is wrong")
	}
	return azidentity.NewClientCertificateCredential(c.TenantID, c.ClientID, certificates, key, &azidentity.ClientCertificateCredentialOptions{
		ClientOptions: client, DisableInstanceDiscovery: isolated,
	})
}
