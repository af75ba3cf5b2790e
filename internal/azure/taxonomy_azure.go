package azure

import (
	"regexp"
	"slices"
	"sync"
)

// taxonomy is the table that [Classify] uses and docs/azure-errors.md is generated from, in the order of its decisions.
var taxonomy = sync.OnceValue(func() []failureRule {
	return slices.Concat(
		signInRules(), tokenRules(), permissionRules(), registryRules(), loadRules(), // by code
		statusRules(),                                                            // by status
		limitRules(), sourceRules(), networkRules(), contentRules(), formRules(), // by message
		remainingRules(),
	)
})

const (
	grantImport = `az role assignment create --assignee "{client}" --role "Container Registry Data Importer and Data Reader" --scope "{scope}"`
	armDocs     = "Microsoft's list of Resource Manager errors"
	entraDocs   = "Microsoft's list of Entra error codes"
)

// signInRules are Entra's own refusals to give a token.
func signInRules() []failureRule {
	rule := func(name, what, advice, example string, codes ...string) failureRule {
		return failureRule{
			name: name, by: byCode, codes: codes, kind: CodeSignIn, side: SideAzure, what: what, advice: advice, copies: true,
			example: Refusal{Status: 401, Code: "invalid_client", Message: example}, seen: entraDocs,
		}
	}
	again := rule("entra-busy", "Entra could not give a token now", "dray tries again",
		"AADSTS90033: A transient error has occurred. Please try again.", "AADSTS90033", "AADSTS90036", "AADSTS50196")
	again.again = true
	return []failureRule{
		again,
		rule("secret-wrong", "Entra does not accept the client secret", "set azure.credential.clientSecret to the secret's value, not to its id",
			"AADSTS7000215: Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, "+
				"not the client secret ID, for a secret added to app 'app'.", "AADSTS7000215"),
		rule("secret-expired", "the client secret has expired", `make a new one: az ad app credential reset --id "<client id>" --append`,
			"AADSTS7000222: The provided client secret keys for app 'app' are expired.", "AADSTS7000222"),
		rule("certificate-refused", "Entra does not accept the client certificate",
			"register the certificate of azure.credential with the application, or replace it where it has expired",
			"AADSTS700027: The certificate with identifier used to sign the client assertion is not registered on application.",
			"AADSTS700027", "AADSTS700021", "AADSTS50012"),
		rule("clock-skew", "Entra finds the credential outside of its time", "set this machine's clock, for example with chrony; then the rest of the credential",
			"AADSTS700024: Client assertion is not within its valid time range.", "AADSTS700024"),
		rule("federation-refused", "the application does not trust the token of this workload",
			"add a federated credential with exactly this issuer, subject and audience: az ad app federated-credential create",
			"AADSTS700213: No matching federated identity record found for presented assertion subject 'system:serviceaccount:dray:dray'.",
			"AADSTS70021", "AADSTS700211", "AADSTS700212", "AADSTS700213", "AADSTS700023"),
		rule("application-unknown", "the tenant does not have this application", "check azure.credential.clientID and tenantID",
			"AADSTS700016: Application with identifier 'app' was not found in the directory 'tenant'.", "AADSTS700016"),
		rule("tenant-unknown", "Entra does not know the tenant", "check azure.credential.tenantID and azure.cloud",
			"AADSTS90002: Tenant 'tenant' not found.", "AADSTS90002", "AADSTS900023"),
		rule("identity-disabled", "the identity is disabled", "have the application or account enabled again in Entra",
			"AADSTS7000112: Application 'app' is disabled.", "AADSTS7000112", "AADSTS50057"),
		rule("grant-revoked", "the sign-in has been revoked or has lapsed", "sign in again: az login; for a daemon use an identity of its own",
			"AADSTS700082: The refresh token has expired due to inactivity.",
			"AADSTS700082", "AADSTS70008", "AADSTS700084", "AADSTS50173", "AADSTS50078", "AADSTS70043"),
		rule("policy-of-sign-in", "a rule of the tenant forbids this sign-in", "exempt dray's identity from the conditional access policy, or use a workload identity",
			"AADSTS53003: Access has been blocked by Conditional Access policies.", "AADSTS53003", "AADSTS50076", "AADSTS50079", "AADSTS50105"),
		rule("resource-unknown", "the tenant does not know the service that the token is for", "check azure.cloud: each cloud has its own audience",
			"AADSTS500011: The resource principal named https://management.example was not found in the tenant.", "AADSTS500011", "AADSTS65001"),
	}
}

// tokenRules are the other refusals of Entra, and Resource Manager's refusals of a token.
func tokenRules() []failureRule {
	return []failureRule{
		{
			name: "sign-in-refused", by: byCode, codes: []string{anySignIn}, text: regexp.MustCompile(`\b(?P<signin>AADSTS[0-9]{4,9})\b`), kind: CodeSignIn, side: SideAzure, copies: true,
			what: "Entra refused the sign-in", advice: "look up the number: https://login.microsoftonline.com/error?code={signin}", seen: entraDocs,
			example: Refusal{Status: 400, Code: "invalid_request", Message: "AADSTS900144: The request body must contain the following parameter: 'client_id'."},
		},
		{
			name: "token-expired", by: byCode, codes: []string{"ExpiredAuthenticationToken"}, kind: CodeSignIn, side: SideAzure,
			what: "the token expired before it was used", advice: "dray signs in again; if this continues, correct this machine's clock",
			again: true, copies: true, seen: armDocs,
			example: Refusal{Status: 401, Code: "ExpiredAuthenticationToken", Message: "The access token expiry UTC time '11/23/2026 7:00:00 PM' is earlier than current UTC time '11/23/2026 8:00:00 PM'."},
		},
		{
			name: "token-wrong-tenant", by: byCode, codes: []string{"InvalidAuthenticationTokenTenant"}, kind: CodeSignIn, side: SideAzure,
			what:   "the token is for another tenant than that of the target's subscription",
			advice: `set azure.credential.tenantID to that of: az account show --subscription "<target's subscription>" --query tenantId`,
			copies: true, seen: armDocs,
			example: Refusal{Status: 401, Code: "InvalidAuthenticationTokenTenant", Message: "The access token is from the wrong issuer 'https://sts.windows.net/1/'. It must match the tenant 'https://sts.windows.net/2/' associated with this subscription."},
		},
		{
			name: "token-wrong-audience", by: byCode, codes: []string{"InvalidAuthenticationTokenAudience"}, kind: CodeSignIn, side: SideAzure,
			what: "the token is for another service than Resource Manager", advice: "check azure.cloud, and armAudience if azure.cloud lists endpoints",
			copies: true, seen: armDocs,
			example: Refusal{Status: 401, Code: "InvalidAuthenticationTokenAudience", Message: "The access token has been obtained for wrong audience or resource 'https://vault.azure.net'."},
		},
		{
			name: "token-refused", by: byCode, codes: []string{"InvalidAuthenticationToken", "AuthenticationFailed", "AuthenticationFailedInvalidHeader", "AuthenticationFailedMissingToken"},
			kind: CodeSignIn, side: SideAzure, what: "Resource Manager does not accept the token", advice: "check azure.credential and azure.cloud, and this machine's clock",
			copies: true, seen: armDocs,
			example: Refusal{Status: 401, Code: "InvalidAuthenticationToken", Message: "The access token is invalid."},
		},
	}
}

const (
	forbiddenExample = "The client '00000000-0000-0000-0000-00000000c1e4' with object id '00000000-0000-0000-0000-00000000c1e4' does not have authorization to perform action " +
		"'Microsoft.ContainerRegistry/registries/importImage/action' over scope '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/providers/" +
		"Microsoft.ContainerRegistry/registries/target' or the scope is invalid. If access was recently granted, please refresh your credentials."
	readExample = "The client '00000000-0000-0000-0000-00000000c1e4' with object id '00000000-0000-0000-0000-00000000c1e4' does not have authorization to perform action " +
		"'Microsoft.ContainerRegistry/registries/read' over scope '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/providers/" +
		"Microsoft.ContainerRegistry/registries/source' or the scope is invalid."
	otherExample = "The client '00000000-0000-0000-0000-00000000c1e4' with object id '00000000-0000-0000-0000-00000000c1e4' does not have authorization to perform action " +
		"'Microsoft.Resources/subscriptions/resources/read' over scope '/subscriptions/00000000-0000-0000-0000-000000000000' or the scope is invalid."
	linkedExample = "The client 'x' with object id 'x' has permission to perform action 'Microsoft.ContainerRegistry/registries/importImage/action' on scope " +
		"'/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/providers/Microsoft.ContainerRegistry/registries/target'; however, it does not have " +
		"permission to perform action 'read' on the linked scope(s) '/subscriptions/1/resourceGroups/g/providers/Microsoft.ContainerRegistry/registries/source'."
	scopePattern = ` over scope '(?P<scope>[^']*?(?:/registries/(?P<registry>[^/']+))?)'`
)

// permissionRules are about roles.
func permissionRules() []failureRule {
	ours := regexp.MustCompile(`(?is)^The client .*with object id '(?P<client>[^']*)'.* action '(?P<action>Microsoft\.ContainerRegistry/registries/(?:importImage/action|pull/read|read))'` + scopePattern)
	return []failureRule{
		{
			name: "no-role-on-linked-source", by: byCode, codes: []string{"LinkedAuthorizationFailed"},
			text: regexp.MustCompile(`(?is)(?:with object id '(?P<client>[^']*)'.*)?linked scope\(s\) '(?P<scope>[^']*)'`),
			kind: CodePermissionSource, side: SideSource, copies: true, mute: true,
			what:   "dray's identity may import into the target, but may not read the source registry {scope}",
			advice: "grant the role on the source too; AcrPull is not enough, because it lacks registries/read: " + grantImport,
			seen:   "Azure/acr#237", example: Refusal{Status: 403, Code: "LinkedAuthorizationFailed", Message: linkedExample},
		},
		{
			name: "no-role-on-target", by: byCode, codes: []string{"AuthorizationFailed"}, text: ours, at: SideTarget,
			kind: CodePermissionTarget, side: SideTarget, copies: true, mute: true,
			what:   "dray's identity lacks {action} on the target registry {scope}",
			advice: "grant the role, and wait five minutes for it to take effect; AcrPush is not enough, because it lacks importImage: " + grantImport,
			seen:   "Azure/acr#281; " + armDocs, example: Refusal{Status: 403, Code: "AuthorizationFailed", Message: forbiddenExample},
		},
		{
			name: "no-role-on-source", by: byCode, codes: []string{"AuthorizationFailed"}, text: ours, at: SideSource,
			kind: CodePermissionSource, side: SideSource, copies: true, mute: true,
			what:   "dray's identity lacks {action} on the source registry {scope}",
			advice: "grant the role, and wait five minutes for it to take effect; AcrPull is not enough, because it lacks registries/read: " + grantImport,
			seen:   "Azure/acr#237; " + armDocs, example: Refusal{Status: 403, Code: "AuthorizationFailed", Message: readExample, Target: "target.azurecr.io"},
		},
		{
			name: "no-right-to", by: byCode, codes: []string{"AuthorizationFailed"},
			text: regexp.MustCompile(`(?is)^The client .*with object id '(?P<client>[^']*)'.* action '(?P<action>[^']*)'` + scopePattern),
			kind: CodePermissionTarget, side: SideTarget, copies: true, mute: true,
			what:   "dray's identity lacks {action} on {scope}",
			advice: "set registries.HOST.azure.resourceID so that dray need not look the registry up, or grant a role with that action to {client}",
			seen:   armDocs, example: Refusal{Status: 403, Code: "AuthorizationFailed", Message: otherExample},
		},
		{
			name: "denied-by-policy", by: byCode, codes: []string{"RequestDisallowedByPolicy", "RequestDisallowedByAzure", "DenyAssignmentAuthorizationFailed"},
			kind: CodePermissionTarget, side: SideTarget, copies: true,
			what: "a policy of the subscription forbids the import", advice: "ask for an exemption of the target registry from the policy",
			seen: armDocs, example: Refusal{Status: 403, Code: "RequestDisallowedByPolicy", Message: "Resource 'target' was disallowed by policy."},
		},
		{
			name: "subscription-read-only", by: byCode, codes: []string{"ReadOnlyDisabledSubscription"}, kind: CodePermissionTarget, side: SideTarget,
			what: "the target's subscription is disabled", advice: "enable the subscription again; often its billing is the cause",
			seen: armDocs, example: Refusal{Status: 409, Code: "ReadOnlyDisabledSubscription", Message: "The subscription is disabled and therefore marked as read only."},
		},
	}
}

// registryRules are about the registries as resources.
func registryRules() []failureRule {
	return []failureRule{
		{
			name: "operation-gone", by: byCode, codes: []string{"OperationNotFound", "ResourceNotFound", "NotFound"}, polled: true,
			kind: CodeTimeout, side: SideAzure, again: true, copies: true,
			what: "Azure no longer knows the import, so the result is unknown", advice: "dray checks the target, and tries again if the image is missing",
			seen: "derived from " + armDocs, example: Refusal{Status: 404, Code: "OperationNotFound", Message: "The operation 'registries-8a819782' was not found.", Polled: true},
		},
		{
			name: "target-missing", by: byCode, codes: []string{"ResourceNotFound", "ResourceGroupNotFound", "SubscriptionNotFound", "InvalidSubscriptionId", "ParentResourceNotFound"},
			kind: CodeTargetNotFound, side: SideTarget, what: "Azure does not have the target registry, or does not show it to dray's identity",
			advice: "check registries.HOST.azure.resourceID against az acr show --query id, and azure.cloud; the identity needs Microsoft.ContainerRegistry/registries/read",
			seen:   armDocs,
			example: Refusal{Status: 404, Code: "ResourceNotFound", Message: "The Resource 'Microsoft.ContainerRegistry/registries/target' under resource group 'rg' was not found. " +
				"For more details please go to https://aka.ms/ARMResourceNotFoundFix"},
		},
		{
			name: "tag-exists", by: byCode, codes: []string{"Conflict"}, kind: CodeConflict, side: SideTarget,
			what: "the target did not overwrite a tag", advice: "nothing if the tag has the same image; else somebody set it when the import started, and the job's next run sees it",
			seen:    "Azure CLI 2.90 in October 2026; Azure/azure-cli#10938",
			example: Refusal{Status: 409, Code: "Conflict", Message: importEnd + "Tag labs/payments-api:1.0.0 already exists in target registry.", Polled: true},
		},
		{
			name: "resource-locked", by: byCode, codes: []string{"ScopeLocked"}, kind: CodeTargetLocked, side: SideTarget,
			what: "the target registry, its group or subscription has a read-only lock", advice: `find it with az lock list --resource "<resource id of the registry>", and remove it with az lock delete`,
			seen: armDocs,
			example: Refusal{Status: 409, Code: "ScopeLocked", Message: "The scope '/subscriptions/0/resourceGroups/rg' cannot perform write operation because following scope(s) are locked: " +
				"'/subscriptions/0/resourceGroups/rg'. Please remove the lock and try again."},
		},
		{
			name: "source-id-malformed", by: byCode, codes: []string{"LinkedInvalidPropertyId"}, kind: CodeConfigInvalid, side: SideSource,
			what: "the resource id of the source registry is invalid", advice: `set registries.HOST.azure.resourceID of the source to the output of: az acr show --name "<source registry>" --query id`,
			seen: "Azure/azure-sdk-for-js#11051",
			example: Refusal{Status: 400, Code: "LinkedInvalidPropertyId", Message: "Property id '/docker.io/library' at path 'properties.source.resourceId' is invalid. " +
				"Expect fully qualified resource Id that start with '/subscriptions/{subscriptionId}' or '/providers/{resourceProviderNamespace}/'."},
		},
		{
			name: "provider-not-registered", by: byCode, codes: []string{"MissingSubscriptionRegistration", "SubscriptionNotRegistered"}, kind: CodeConfigInvalid, side: SideTarget,
			what: "a subscription is not registered for container registries", advice: "register it and the source's subscription: az provider register --namespace Microsoft.ContainerRegistry",
			seen: armDocs, example: Refusal{Status: 409, Code: "MissingSubscriptionRegistration", Message: "The subscription is not registered to use namespace 'Microsoft.ContainerRegistry'."},
		},
		{
			name: "operation-unknown", by: byCode, codes: []string{"NoRegisteredProviderFound", "InvalidApiVersionParameter", "MissingApiVersionParameter", "InvalidResourceType"},
			kind: CodeConfigInvalid, side: SideAzure, copies: true, what: "this cloud's Resource Manager does not support dray's import request", advice: "check azure.cloud; if it is right, use engine: copy",
			seen: armDocs, example: Refusal{Status: 400, Code: "NoRegisteredProviderFound", Message: "No registered resource provider found for location 'westus' and API version '2025-11-01'."},
		},
	}
}

// loadRules are about Resource Manager's rate limits and outages.
func loadRules() []failureRule {
	return []failureRule{
		{
			name: "throttled", by: byCode, codes: []string{"TooManyRequests", "SubscriptionRequestsThrottled", "ResourceRequestsThrottled", "OperationThrottled"},
			kind: CodeThrottled, side: SideAzure, again: true, what: "Resource Manager requests a lower rate", advice: "dray waits as long as requested; if this continues, lower azure.import.rate",
			seen: "Azure/azure-sdk-for-go#22943; " + armDocs,
			example: Refusal{Status: 429, Code: "SubscriptionRequestsThrottled", Message: "Number of 'write' requests for subscription '0' actor '1' exceeded. " +
				"Please try again after '5' seconds after additional tokens are available."},
		},
		{
			name: "azure-unwell", by: byCode,
			codes: []string{"InternalServerError", "InternalError", "ServiceUnavailable", "ServerTimeout", "GatewayTimeout", "BadGateway", "ServerBusy", "OperationTimedOut"},
			kind:  CodeThrottled, side: SideAzure, again: true, what: "Resource Manager has a temporary failure", advice: "dray tries again; if this continues, look at https://azure.status.microsoft",
			seen: armDocs, example: Refusal{Status: 500, Code: "InternalServerError", Message: "Encountered internal server error."},
		},
	}
}

// statusRules are for answers whose code says nothing, such as those of a proxy.
func statusRules() []failureRule {
	made := "derived from the meaning of the status in RFC 9110"
	return []failureRule{
		{
			name: "still-running", by: byStatus, from: 201, to: 202, kind: CodeTimeout, side: SideAzure, again: true, copies: true, mute: true,
			what:    "Azure had not finished the import by the deadline",
			advice:  "dray checks the target, and tries again if the image is missing; raise azure.import.timeout for large images, or use engine: copy for this source",
			seen:    "Azure/acr#549, #617, #537; Azure/azure-cli#23142; Azure/azure-sdk-for-python#31579",
			example: Refusal{Status: 202, Message: `{"x:y":"Pending","status":"Accepted"}`, Polled: true},
		},
		{
			name: "status-401", by: byStatus, from: 401, to: 401, kind: CodeSignIn, side: SideAzure, copies: true,
			what: "Azure does not accept the sign-in", advice: "check azure.credential and azure.cloud, and this machine's clock",
			seen: made, example: Refusal{Status: 401, Message: "Unauthorized"},
		},
		{
			name: "status-403", by: byStatus, from: 403, to: 403, posted: true, kind: CodePermissionTarget, side: SideTarget, copies: true,
			what: "dray's identity may not do this at the target registry", advice: "grant the role: " + grantImport,
			seen: made, example: Refusal{Status: 403, Message: "Forbidden"},
		},
		{
			name: "status-404-of-operation", by: byStatus, from: 404, to: 404, polled: true, kind: CodeTimeout, side: SideAzure, again: true, copies: true,
			what: "Azure no longer knows the import, so the result is unknown", advice: "dray checks the target, and tries again if the image is missing",
			seen: made, example: Refusal{Status: 404, Polled: true},
		},
		{
			name: "status-404", by: byStatus, from: 404, to: 404, kind: CodeTargetNotFound, side: SideTarget, what: "Azure does not have the target registry",
			advice: "check registries.HOST.azure.resourceID against az acr show --query id, and azure.cloud", seen: made, example: Refusal{Status: 404, Message: "Not Found"},
		},
		{
			name: "status-409", by: byStatus, from: 409, to: 409, kind: CodeConflict, side: SideTarget, what: "the target refused because of another operation",
			advice: "nothing if the tag has the same image; else the job's next run sees the current state", seen: made, example: Refusal{Status: 409, Message: "Conflict"},
		},
		{
			name: "status-429", by: byStatus, from: 429, to: 429, kind: CodeThrottled, side: SideAzure, again: true, what: "Azure requests a lower rate",
			advice: "dray waits as long as requested; if this continues, lower azure.import.rate", seen: made, example: Refusal{Status: 429, Message: "slow down"},
		},
		{
			name: "status-408", by: byStatus, from: 408, to: 408, kind: CodeThrottled, side: SideAzure, again: true, what: "Resource Manager timed out waiting for the request",
			advice: "dray tries again; if this continues, check the network between dray and Azure", seen: made, example: Refusal{Status: 408, Message: "Request Timeout"},
		},
		{
			name: "status-5xx", by: byStatus, from: 500, to: 599, kind: CodeThrottled, side: SideAzure, again: true, what: "Resource Manager, or a proxy in front of it, has a temporary failure",
			advice: "dray tries again; if this continues, look at https://azure.status.microsoft", seen: made, example: Refusal{Status: 502, Message: "<html>Bad Gateway</html>"},
		},
	}
}
