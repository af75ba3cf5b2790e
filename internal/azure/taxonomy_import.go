package azure

import (
	"regexp"
	"time"
)

const (
	// importEnd begins the message of every import that ended.
	importEnd = "Operation registries-8a819782-be6e-11f1-993e-ee0880be6ca1 failed. Resource /subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/" +
		"providers/Microsoft.ContainerRegistry/registries/target "
	invalidParameters = "InvalidParameters"
	likeOthers        = "modelled on Azure/acr#457; not observed itself"
	learnImport       = "Microsoft's article on importing, Troubleshooting"
	// sourcePause is the pause after a source's limit was reached: Docker Hub's windows last hours.
	sourcePause = 15 * time.Minute
)

// ended returns the example of an import that failed with a text.
func ended(text string) Refusal {
	return Refusal{Status: 400, Code: invalidParameters, Message: importEnd + text, Polled: true}
}

// limitRules are about the source's pull limits.
func limitRules() []failureRule {
	return []failureRule{
		{
			name: "source-limit-anonymous", by: byMessage,
			text: regexp.MustCompile(`(?is)(?:\bStatusCode: 429\b|^Invalid message (?:TooManyRequests|429)\b|\bTOO_?MANY_?REQUESTS\b).*(?:unauthenticated|by authenticating|by logging in|anonymous)`),
			kind: CodeSourceRateLimited, side: SideSource, again: true, copies: true, wait: sourcePause,
			what:    "the source allows no more anonymous pulls from Azure's addresses, which all customers of Azure share",
			advice:  "configure an account for the source: registries.HOST.username and password, which dray hands to Azure for the import",
			seen:    "microsoft/AzureTRE#4917; Azure/bicep-registry-modules#3069; Azure/acr#754",
			example: ended("An error occurred when getting manifest. StatusCode: 429, TOOMANYREQUESTS: You have reached your unauthenticated pull rate limit."),
		},
		{
			name: "source-limit", by: byMessage,
			text: regexp.MustCompile(`(?i)\bStatusCode: 429\b|^Invalid message (?:TooManyRequests|429)\b|\bTOO_?MANY_?REQUESTS\b`),
			kind: CodeSourceRateLimited, side: SideSource, again: true, wait: sourcePause,
			what: "the source allows no more pulls now", advice: "dray tries again later; select fewer tags, or use an account with a higher limit",
			seen: "modelled on the text of Docker Hub's limit; not observed itself", example: ended("An error occurred when getting manifest. StatusCode: 429, TOOMANYREQUESTS: Too Many Requests"),
		},
	}
}

// sourceRules are the source's own answers, which Azure passes on.
func sourceRules() []failureRule {
	return []failureRule{
		{
			name: "source-firewall", by: byMessage, text: regexp.MustCompile(`(?is)client with IP '?(?:\\u0027)?(?P<address>[0-9a-fA-F.:]+).*is not allowed access`),
			kind: CodeNetworkDenied, side: SideSource, copies: true, what: "the source registry's firewall blocks Azure's import",
			advice: `name the source by its resource id (registries.HOST.azure.resourceID), or allow the address: az acr network-rule add --name "<source registry>" --ip-address {address}`,
			seen:   "MicrosoftDocs/azure-docs#115975",
			example: ended(`Invalid message Forbidden Forbidden {"errors":[{"code":"DENIED","message":"client with IP \u0027192.0.2.7\u0027 is not allowed access. ` +
				`Refer https://aka.ms/acr/firewall to grant access."}]}`),
		},
		{
			name: "source-unauthorized-one-segment", by: byMessage, text: regexp.MustCompile(`(?s)^Invalid message Unauthorized\b.*"Name"\s*:\s*"(?P<repository>[a-z0-9._-]+)"`),
			kind: CodeSourceUnauthorized, side: SideSource, copies: true, what: "the source does not let Azure read {repository}, or has no such repository",
			advice: "check the repository's name, and registries.HOST.username and password (or azure.resourceID for an Azure registry of this tenant)",
			hub:    "on Docker Hub the official images are below library/: write docker.io/library/{repository}; a private image needs registries.HOST.username and password",
			seen:   "Azure/acr#457, #476, #196; Azure/azure-cli#18699",
			example: ended(`Invalid message Unauthorized Unauthorized {"errors":[{"code":"UNAUTHORIZED","message":"authentication required","detail":[{"Type":"repository",` +
				`"Class":"","Name":"nats","Action":"pull"}]}]}`),
		},
		{
			name: "source-unauthorized", by: byMessage, text: regexp.MustCompile(`^Invalid message Unauthorized\b|^An error occurred when getting manifest\. StatusCode: 401\b`),
			kind: CodeSourceUnauthorized, side: SideSource, copies: true, what: "the source does not accept the sign-in, or has no such repository",
			advice:  "check the repository's name, and registries.HOST.username and password (or azure.resourceID for an Azure registry of this tenant)",
			seen:    "Azure/acr#457, #181",
			example: ended(`Invalid message Unauthorized Unauthorized {"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`),
		},
		{
			name: "source-forbidden", by: byMessage, text: regexp.MustCompile(`^Invalid message Forbidden\b|^An error occurred when getting manifest\. StatusCode: 403\b`),
			kind: CodeSourceForbidden, side: SideSource, copies: true, what: "the source forbids the pull",
			advice:  "if the source is an Azure registry without public access, name it by its resource id (registries.HOST.azure.resourceID); else grant the account the right to pull",
			seen:    "Azure/acr#435",
			example: ended(`Invalid message Forbidden Forbidden {"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}`),
		},
		{
			name: "source-missing", by: byMessage,
			text: regexp.MustCompile(`^Invalid message NotFound\b|^An error occurred when getting manifest\. StatusCode: 404\b|"code"\s*:\s*"(?:MANIFEST|NAME)_UNKNOWN"`),
			kind: CodeSourceNotFound, side: SideSource, copies: true, what: "the source does not have the image",
			advice:  "check repository and tag; the host of an Azure registry is not part of the repository",
			hub:     "check repository and tag; on Docker Hub the official images are below library/",
			seen:    likeOthers,
			example: ended(`Invalid message NotFound Not Found {"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}`),
		},
		{
			name: "source-unwell", by: byMessage,
			text: regexp.MustCompile(`^Invalid message (?:InternalServerError|BadGateway|ServiceUnavailable|GatewayTimeout|RequestTimeout|408|5\d\d)\b|^An error occurred when getting manifest\. StatusCode: (?:408|5\d\d)\b`),
			kind: CodeTransientCopy, side: SideSource, again: true, copies: true, what: "the source has a temporary failure", advice: "dray tries again",
			seen: likeOthers, example: ended(`Invalid message ServiceUnavailable Service Unavailable {"errors":[{"code":"UNAVAILABLE","message":"try later"}]}`),
		},
	}
}

// networkRules are about registries with network rules.
func networkRules() []failureRule {
	access := regexp.MustCompile(`^Access to (?P<registry>[^\s'"]+) denied`)
	return []failureRule{
		{
			name: "target-network", by: byMessage, text: access, at: SideTarget, kind: CodeNetworkDenied, side: SideTarget, copies: true,
			what:   "the network rules of the target registry block Azure's import",
			advice: `allow trusted services (networkRuleBypassOptions: AzureServices): az acr update --name "<target registry>" --allow-trusted-services true`,
			seen:   "Azure/acr#571, #668", example: ended("Access to target.azurecr.io denied."),
		},
		{
			name: "source-network", by: byMessage, text: access, at: SideSource, kind: CodeNetworkDenied, side: SideSource, copies: true,
			what: "the network rules of the source registry {registry} block Azure's import",
			advice: `name the source by its resource id (registries.HOST.azure.resourceID) and allow trusted services (networkRuleBypassOptions: AzureServices): ` +
				`az acr update --name "<source registry>" --allow-trusted-services true`,
			seen: "modelled on Azure/acr#571, #668", example: ended("Access to source.azurecr.io denied."),
		},
	}
}

// contentRules are about the image and how its source serves it.
func contentRules() []failureRule {
	const otherEngine = "use engine: copy for this source, which does not need this"
	incompatible := func(name, what, text, seen, example string) failureRule {
		return failureRule{
			name: name, by: byMessage, text: regexp.MustCompile(text), kind: CodeSourceIncompatible, side: SideSource, copies: true,
			what: what, advice: otherEngine, seen: seen, example: ended(example),
		}
	}
	status := incompatible("ranges-status", "the source answers a range request for a blob (RFC 7233) in a way that Azure does not accept", `^Unexpected response status code`,
		learnImport, "Unexpected response status code")
	length := incompatible("ranges-length", "the source sends another length than Azure requested (RFC 7233)", `^Unexpected length of body in response`,
		learnImport, "Unexpected length of body in response")
	status.again, length.again = true, true
	return []failureRule{
		incompatible("ranges", "the source does not support range requests for blobs (RFC 7233), which Azure's import needs", `RFC 7233`,
			learnImport, "The remote server may not be RFC 7233 compliant"),
		status, length,
		incompatible("no-digest-header", "the source sends a manifest without its digest, which Azure's import needs", `^No value specified for Docker-Content-Digest`,
			"Azure/acr#233", "No value specified for Docker-Content-Digest OK OK {\n   \"schemaVersion\": 2\n}"),
		incompatible("no-manifest-digest", "Azure's import finds no digest in the source's answer", `^Unable to find manifest digest`,
			"Azure/acr#422", "Unable to find manifest digest  Repo: someurl.com/lido/sms Tag: 1.0.0 Manifest: "),
		{
			name: "manifests", by: byMessage, text: regexp.MustCompile(`(?i)\b50 manifests\b`), kind: CodeTooManyManifests, side: SideSource, copies: true, mute: true,
			what: "the image has more than 50 manifests, the limit of Azure's import", advice: "use engine: copy, or select fewer platforms",
			seen: "the limit: Microsoft's article on importing; wording not observed", example: ended("The number of manifests exceeds the limit of 50 manifests per image."),
		},
		{
			name: "blobs", by: byMessage, text: regexp.MustCompile(`^Error copying blobs`), kind: CodeTransientCopy, side: SideAzure, again: true, copies: true,
			what: "Azure stopped while it copied blobs, without a reason", advice: "dray tries again; if this continues, use engine: copy for this source",
			seen: "Azure/acr#632", example: Refusal{Status: 400, Code: invalidParameters, Message: "Error copying blobs", Polled: true},
		},
		{
			name: "target-full", by: byMessage, text: regexp.MustCompile(`(?i)\bstorage (?:limit|quota)\b`), kind: CodeImportFailed, side: SideTarget,
			what: "the target registry is full", advice: `delete images (az acr repository delete), or increase its storage: az acr update --name "<target registry>" --sku Premium`,
			seen: "wording not observed", example: ended("The registry has reached its storage limit. Delete images or upgrade the SKU of the registry."),
		},
	}
}

// formRules are about requests that should not have been made.
func formRules() []failureRule {
	return []failureRule{
		{
			name: "source-malformed", by: byMessage, text: regexp.MustCompile(`(?i)^(?:Invalid|Missing) .*\bparameters\.Source\.`), kind: CodeConfigInvalid, side: SideSource,
			what: "Azure does not accept this form of the source", advice: "write host/repository with either a tag or a digest, not both, and a host with a dot in it",
			seen: "Azure/azure-cli#14337",
			example: Refusal{Status: 400, Code: "InvalidRequest", Message: "Invalid value k8s-artifacts-prod/ingress-nginx/controller:v0.34.0@sha256:56633bd0... for property " +
				"parameters.Source.SourceImage for resource name target. Kindly refer to the docs: https://aka.ms/acr/import"},
		},
		{
			name: "target-malformed", by: byMessage, text: regexp.MustCompile(`(?i)^(?:Invalid|Missing) .*\bparameters\.`), kind: CodeConfigInvalid, side: SideTarget,
			what: "Azure does not accept this form of the target", advice: "give the target a repository and a tag, or set untagged: true for a manifest without a tag",
			seen:    "Azure/azure-powershell#24546",
			example: Refusal{Status: 400, Message: "Missing property parameters.TargetTags for the operation against the resource with name destregistry."},
		},
		{
			name: "target-not-listed", by: byMessage, text: regexp.MustCompile(`(?i)^The resource with name '[^']*' and type 'Microsoft\.ContainerRegistry/registries' could not be found`),
			kind: CodePermissionTarget, side: SideTarget, copies: true, what: "dray's identity sees no registry of that name in the subscription",
			advice:  "grant a role with registries/read, or set registries.HOST.azure.resourceID: " + grantImport,
			seen:    "Azure/acr#281; MicrosoftDocs/azure-docs#59016",
			example: Refusal{Code: "(CLI)", Message: "The resource with name 'target' and type 'Microsoft.ContainerRegistry/registries' could not be found in subscription 'x (y)'."},
		},
		{
			name: "no-credential", by: byMessage, posted: true,
			text: regexp.MustCompile(`(?i)^[A-Za-z]{3,40}Credential(?:: | authentication )|\bPlease run '?"?az login`),
			kind: CodeSignIn, side: SideAzure, copies: true, what: "no credential for Azure was found",
			advice:  "set azure.credential (kind: workload-identity, managed-identity, client-secret, client-certificate or azure-cli), or the AZURE_ environment variables",
			seen:    "Azure's identity library, its troubleshooting guide",
			example: Refusal{Message: "DefaultAzureCredential: failed to acquire a token.\nAttempted credentials:\n\tEnvironmentCredential: missing environment variable AZURE_TENANT_ID"},
		},
	}
}

// remainingRules match everything else.
func remainingRules() []failureRule {
	return []failureRule{
		{
			name: "request-refused", by: byDefault, codes: []string{"InvalidRequest", "InvalidRequestContent", "InvalidRequestFormat"}, posted: true, kind: CodeConfigInvalid, side: SideAzure,
			what: "Azure does not understand the request", advice: "compare source and target in the configuration with docs/azure.md", copies: true, raw: true,
			seen: armDocs, example: Refusal{Status: 400, Code: "InvalidRequestContent", Message: "The request content was invalid and could not be deserialized."},
		},
		{
			name: "import-broke-off", by: byDefault, codes: []string{invalidParameters}, polled: true, kind: CodeTransientCopy, side: SideAzure, again: true, copies: true,
			what: "the import ended for a reason that dray does not know", advice: "dray tries again; if this continues, use engine: copy for this source", raw: true,
			seen: "Azure/acr#632, generalized", example: ended("Something of a kind that nobody has written about."),
		},
		{
			name: "unknown", by: byDefault, kind: CodeImportFailed, side: SideAzure, copies: true, raw: true,
			what:   "the import failed for a reason that dray does not know (status {status}, code {code})",
			advice: "try engine: copy; Microsoft's support finds the request by its correlation id",
			seen:   "everything that matches nothing above", example: Refusal{Status: 418, Code: "Teapot", Message: "short and stout"},
		},
	}
}

// foundByDray are failures that dray detects by itself.
var foundByDray = []failureRule{
	{
		name: "digest-differs", kind: CodeVerifyFailed, side: SideTarget, again: true, copies: true,
		what:    "the target does not have the image that Azure reported as imported",
		advice:  "dray imports it again by digest; if a source tag moves during an import by tag, the target tag has no manifest (Azure/azure-cli#29974)",
		seen:    "Azure/azure-cli#29974, #21944",
		example: Refusal{Message: "alpine:3.20 is sha256:aaaa, not sha256:bbbb"},
	},
	{
		name: "deadline", kind: CodeTimeout, side: SideAzure, again: true, copies: true, what: "Azure had not finished the import by the deadline",
		advice:  "dray tries again; raise azure.import.timeout for large images, or use engine: copy for this source",
		seen:    "Azure/acr#549, #617, #537; Azure/azure-cli#23142; Azure/azure-sdk-for-python#31579",
		example: Refusal{Message: "still Pending after 30m"},
	},
	{
		name: "source-paused", kind: CodeSourceRateLimited, side: SideSource, again: true, wait: sourcePause,
		what:    "the source refused Azure's pulls a short while ago, so dray requests no import from it",
		advice:  "dray tries again later",
		seen:    "the pause that dray makes for a source",
		example: Refusal{Message: "docker.io"},
	},
	{
		name: "tag-locked", kind: CodeTargetLocked, side: SideTarget, what: "the target's tag is locked, and Azure would move it anyway",
		advice:  `leave it, or unlock it: az acr repository update --name "<target registry>" --image "<repository>:<tag>" --write-enabled true`,
		seen:    "Azure CLI 2.90 in October 2026",
		example: Refusal{Message: "labs/payments-api:1.0.0 has writeEnabled: false"},
	},
	{
		name: "sign-in", kind: CodeSignIn, side: SideAzure, copies: true, what: "dray could not sign in to Azure",
		advice:  "check azure.credential and azure.cloud",
		seen:    "the sign-in of dray",
		example: Refusal{Message: "there is no certificate in the file"},
	},
	{
		name: "mapping-unfit", kind: CodeConfigInvalid, side: SideAzure, copies: true, what: "Azure cannot import this as it is configured",
		advice:  "change the mapping, or use engine: copy for it",
		seen:    "the checks of dray",
		example: Refusal{Message: "the source's host has no dot"},
	},
}
