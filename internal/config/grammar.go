package config

// The grammar of a config file. Each field is a key, and all there is to say about a key is said at its field:
//
//   - `yaml` is its name, and the comment above it is its description in the JSON schema.
//   - `required` without a value, `default`, `enum`, `min`, `max`, `minItems` and `unique` are what they are in JSON schema.
//   - `requires` names a key that must stand beside it; `host` marks a key that holds for a whole registry only.
//   - `format` names the pattern that the JSON schema has for it, and `example` a valid value; "|" separates several.
//   - `empty` lets a text be written as "", which means none.
//   - `oneof` names keys of which exactly one must be there, `some` keys of which at least one must, and `never` keys of which each excludes all others.
//
// A list's tags hold for its entries where they are about scalars.

// document is a whole file.
type document struct {
	origin
	_ struct{} `some:"mappings|include|registries|receivers"`
	// The version of this file's grammar.
	Version number `yaml:"version" required:"" min:"1" max:"1"`
	// Other files that belong to this config, by path or by a pattern for the last part of a path: `*`, `?`, `[a-z]`. A relative path starts at
	// this file's folder. A file may have `version`, `mappings`, `defaults` for its own mappings, `registries` and `receivers`; what its
	// `defaults` leave out, this file's say. Names are unique over all files. Files that begin with a dot are not matched. `dray run` follows
	// each file; one with mistakes keeps only its own mappings, registries and receivers as they were. There can be 256 files of up to 1 MiB.
	Include list[text] `yaml:"include" minItems:"1" unique:"" example:"conf.d/*.yaml"`
	// The folder in which dray remembers what it has fetched and where it is. By default `$STATE_DIRECTORY`, else
	// `$XDG_STATE_HOME/dray`, else `~/.local/state/dray`. A relative path starts at this file's folder. Deleting the folder makes dray
	// slower once, and never wrong.
	StateDir text `yaml:"stateDir" example:"/var/lib/dray"`
	// What is logged, and how. Command-line flags override it.
	Log logSection `yaml:"log"`
	// The HTTP address of `dray run`: health, metrics, status, and requests to run a job or to reload this file.
	Server serverSection `yaml:"server"`
	// Several `dray run` that share their work through one PostgreSQL database: each job runs at one of them at a time, and others take over
	// what one that dies was at. Give all of them the same file. A change takes effect at the next start. See docs/replicas.md.
	Cluster clusterSection `yaml:"cluster"`
	// How many jobs `dray run` runs at once. A job that waits for its registries, moving less than a MiB in 250 ms, does not count,
	// except among jobs between the same registries.
	Jobs number `yaml:"jobs" min:"1" max:"64" default:"4"`
	// The most bytes of blobs per second that dray fetches, and the most that it sends, over all imports: a copy at `50MiB/s` reads and writes
	// at 50 MiB/s. A number with `B/s`, `kB/s`, `MB/s`, `GB/s`, `KiB/s`, `MiB/s` or `GiB/s`, from `64KiB/s`. Manifests, tag lists and layouts
	// on disk do not count, nor does what Azure imports by itself; bytes that are sent again do. A change takes effect at once, also for
	// running imports. Each machine of a cluster has its own.
	Bandwidth text `yaml:"bandwidth" format:"bandwidth" example:"50MiB/s"`
	// How long a stopping `dray run` lets running imports finish before it ends them; up to 10m. Set the service manager's own timeout
	// higher.
	ShutdownGrace text `yaml:"shutdownGrace" format:"span" default:"25s" example:"25s|0s"`
	// Where to send notifications.
	Notifications series[notificationSection] `yaml:"notifications" minItems:"1"`
	// Who may tell `dray run` that a tag was pushed, at POST /hook/NAME; `dray status` shows each path. The tag is looked at within
	// seconds, if a mapping wants it. The schedule stays as it is.
	Receivers series[receiverSection] `yaml:"receivers" minItems:"1"`
	// Defaults for all mappings: any key of a mapping except `name`, `source`, `images`, `imagesFrom`, `rename`, `target`, `targets` and
	// `repositories`. A key that a mapping sets replaces the default as a whole.
	Defaults defaultsSection `yaml:"defaults"`
	// Credentials and connections, by registry: a host such as `ghcr.io` or `localhost:5000`. A key host/path sets credentials for a
	// part of a registry; the longest match wins. dray reaches a registry that is not listed over HTTPS, with the credentials of `docker
	// login`. All spellings of a host are one: upper case, a trailing dot, port 443, leading zeros of a port, and the forms of an IP
	// address make no difference, here, in references, in `mirrors` and in Docker's config.json. Port 80 makes none where the host
	// without it has `plainHTTP`. `index.docker.io`, `registry-1.docker.io` and `registry.hub.docker.com` are `docker.io`.
	Registries dict[registrySection] `yaml:"registries" format:"registry"`
	// Policies by name: who must have signed images before dray imports them. By default dray verifies nothing. See docs/signatures.md.
	Verify dict[policySection] `yaml:"verify" format:"policyName"`
	// Azure settings for all registries that have `azure`: the cloud, the sign-in, and the pace of imports.
	Azure azureSection `yaml:"azure"`
	// What to import, and where to. Only a file with `include` can do without.
	Mappings series[mappingSection] `yaml:"mappings" minItems:"1"`
}

type logSection struct {
	origin
	// The lowest level to log.
	Level text `yaml:"level" enum:"debug|info|warn|error" default:"info"`
	// `auto` means text on a terminal and JSON elsewhere.
	Format text `yaml:"format" enum:"auto|text|json" default:"auto"`
}

type serverSection struct {
	origin
	// The address to listen on: host:port, `unix:` and an absolute path of a socket, or `""` to not listen. Set a `token` where others
	// can reach it, because requests can start jobs.
	Listen text `yaml:"listen" format:"listen" empty:"" default:"127.0.0.1:8484" example:"127.0.0.1:8484|unix:/run/dray/dray.sock"`
	// The token that a request must send to change something, as `Authorization: Bearer TOKEN`: 16 to 512 letters, digits and
	// punctuation. Keep it out of this file, with `${env:NAME}` or `${file:PATH}`.
	Token text `yaml:"token" format:"token" example:"${env:DRAY_TOKEN}|${file:/run/secrets/dray}"`
	// A read-only registry over OCI image layouts in `dray run`, as of `dray serve`. A change takes effect at the next start. See
	// docs/serve.md.
	Registry servedSection `yaml:"registry"`
}

type servedSection struct {
	origin
	// The address to listen on: host:port, or `unix:` and an absolute path of a socket. Beyond this machine it needs `certFile` or
	// `plainHTTP`.
	Listen text `yaml:"listen" format:"listen" default:"127.0.0.1:5000" example:"0.0.0.0:5000"`
	// Layouts, or folders with layouts below them; `NAME=PATH` to serve them under a name, or below it. A relative path starts at this file's
	// folder.
	Layouts list[text] `yaml:"layouts" required:"" minItems:"1" unique:"" example:"/srv/stage|plant/app=/srv/app"`
	// Below which prefix the repositories of a registry are, as `HOST=PREFIX`, for clients that ask a mirror; `HOST=` for none. By default
	// the registry's own name.
	MirrorOf list[text] `yaml:"mirrorOf" minItems:"1" unique:"" format:"mirrorOf" example:"docker.io=hub|quay.io="`
	// A PEM file with the certificate and its chain. It is read again when it changes.
	CertFile text `yaml:"certFile" requires:"keyFile" example:"/etc/dray/tls.crt"`
	// A PEM file with the key of `certFile`.
	KeyFile text `yaml:"keyFile" requires:"certFile" example:"/etc/dray/tls.key"`
	// A file of who may pull, as `htpasswd -B` writes it. It is read again when it changes. Without it everybody may.
	HTPasswd text `yaml:"htpasswd" example:"/etc/dray/htpasswd"`
	// Serve other machines without TLS.
	PlainHTTP toggle `yaml:"plainHTTP" default:"false"`
}

type clusterSection struct {
	origin
	// The URL of the database, PostgreSQL 13 or later. Several hosts are written as `postgres://USER@/DATABASE?host=A,B&port=5432,5432`.
	// Without `sslmode` in it the server must prove its name by TLS (`verify-full`), unless it is on this machine. Keep it out of this file,
	// with `${env:NAME}` or `${file:PATH}`.
	Ledger text `yaml:"ledger" required:"" format:"ledger" example:"${file:/run/secrets/dray-ledger}|postgres://dray@db.corp.example/dray"`
	// The name of this process in status and logs. By default the host's.
	Name text `yaml:"name" format:"replica" example:"${env:HOSTNAME}|dray-1"`
	// After how long of silence others take over, from 10s to 25s. The same everywhere.
	Lease text `yaml:"lease" format:"span" default:"20s" example:"20s|10s"`
}

type notificationSection struct {
	origin
	// The http or https URL to POST to. If it is a secret itself, keep it out of this file, with `${env:NAME}` or `${file:PATH}`.
	Webhook text `yaml:"webhook" required:"" format:"webhook" example:"https://hooks.example.com/dray|${file:/run/secrets/webhook}"`
	// The key to sign with (HMAC, as in Standard Webhooks): at least 24 characters, or `whsec_` and base64.
	Secret text `yaml:"secret" example:"${env:WEBHOOK_SECRET}|${file:/run/secrets/webhook-key}"`
	// The events to send. By default all except `imported`.
	On list[text] `yaml:"on" enum:"imported|failed|recovered|config-rejected|config-accepted" minItems:"1" unique:"" example:"failed|recovered"`
	// A Go template of the JSON to send instead of a CloudEvent, for chat systems.
	Template text `yaml:"template" example:"{\"text\": {{json .Summary}}}"`
}

type receiverSection struct {
	origin
	// The receiver's name, a part of its path; unique.
	Name text `yaml:"name" required:"" format:"receiverName" example:"hub|ghcr"`
	// Who sends. `generic` takes `{"image": "host/repository:tag"}` from anything else.
	Type text `yaml:"type" required:"" enum:"acr|artifactory|cloudevents|distribution|dockerhub|ecr|gcr|generic|github|harbor|nexus|quay|zot"`
	// What the sender signs with, or sends along, or has in its path: at least 16 characters. Every type but `gcr` needs it. Keep it out
	// of this file, with `${env:NAME}` or `${file:PATH}`.
	Secret text `yaml:"secret" example:"${file:/run/secrets/hub-events}"`
	// The host of the registry as the mappings' sources have it, where the events name another one, or none (`artifactory`, `nexus`,
	// `zot`).
	Registry text `yaml:"registry" format:"registryHost" example:"artifactory.example.com"`
	// For `gcr`: the audience of the subscription's token.
	Audience text `yaml:"audience" requires:"serviceAccount" example:"https://dray.example.com/hook/google"`
	// For `gcr`: the e-mail address of the subscription's service account.
	ServiceAccount text `yaml:"serviceAccount" requires:"audience" example:"events@project.iam.gserviceaccount.com"`
}

type registrySection struct {
	origin
	_ struct{} `never:"tls|plainHTTP"`
	// The user name to sign in with. Without any credential here, dray uses those of `docker login`.
	Username text `yaml:"username" requires:"password" example:"${env:REGISTRY_USERNAME}"`
	// The password or access token to sign in with. Keep it out of this file, with `${env:NAME}` or `${file:PATH}`.
	Password text `yaml:"password" requires:"username" example:"${env:REGISTRY_PASSWORD}|${file:/run/secrets/registry}"`
	// A refresh token of the registry's token server, which some registries issue instead of a password. Keep it out of this file.
	IdentityToken text `yaml:"identityToken" example:"${file:/run/secrets/registry-token}"`
	// A Docker credential helper to ask for the credential, by its name after `docker-credential-`. It must be on PATH. dray asks it
	// again every hour. `dray check` reports a helper that is not installed.
	CredentialHelper text `yaml:"credentialHelper" format:"helper" example:"ecr-login|gcloud|pass"`
	// Do not sign in, even if `docker login` has left a credential.
	Anonymous toggle `yaml:"anonymous" default:"false"`
	// Certificates: a CA that the system does not trust, or a client certificate.
	TLS tlsSection `yaml:"tls" host:""`
	// Use HTTP without TLS.
	PlainHTTP toggle `yaml:"plainHTTP" host:"" default:"false"`
	// The highest number of requests of one kind in flight to this registry. The kinds are reads, downloads, writes, uploads and
	// sign-in. A blob that waits for the other side of a copy does not count. With `cluster` it is for all replicas together.
	Concurrency number `yaml:"concurrency" host:"" min:"1" max:"256" example:"16"`
	// The most bytes of blobs per second from this registry, and the most to it, besides the `bandwidth` of all.
	Bandwidth text `yaml:"bandwidth" host:"" format:"bandwidth" example:"10MiB/s"`
	// Limits to keep within. Docker Hub reports by itself how many pulls are left.
	RateLimit rateLimitSection `yaml:"rateLimit" host:""`
	// Other places that have this registry's content: hosts, or host/path prefixes of its repositories. dray resolves tags at the
	// registry itself; manifests and blobs come by digest, and are checked, from the first mirror that has them, else from the registry.
	// This saves pulls of Docker Hub.
	Mirrors list[text] `yaml:"mirrors" host:"" minItems:"1" unique:"" format:"mirror" example:"mirror.gcr.io|public.ecr.aws/docker/library|cache.example.com:5000/hub"`
	// How to ask which image each tag names. `auto` uses the registry's own listing of tags with digests, if it has one, where that
	// costs less than asking for each tag. `head` always asks for each tag. `hub`, for `docker.io`, uses Docker Hub's own API as well: it is
	// late, so that dray may see a moved tag hours later.
	Listing text `yaml:"listing" host:"" enum:"auto|head|hub" default:"auto"`
	// This is an Azure Container Registry: sign in through Entra, and let it import by itself what it can. `{}` is enough.
	Azure registryAzureSection `yaml:"azure" host:"" never:"azure|aws|google|quay|username|identityToken|credentialHelper|anonymous"`
	// This is a registry of Amazon ECR or ECR Public: sign in with the credential that AWS's SDK finds, or with another one of AWS. Without this
	// key dray does the same where there is a credential of AWS, and none of `docker login`; with it, it does not go on without one. `{}` is
	// enough. See docs/aws.md.
	AWS registryAWSSection `yaml:"aws" host:""`
	// This is a registry of Google (`*-docker.pkg.dev`, `gcr.io`): sign in with the Application Default Credentials, or with others of Google. Without
	// this key dray does the same where there are such credentials, and none of `docker login`; with it, it does not go on without them.
	// `{}` is enough. See docs/google.md.
	Google registryGoogleSection `yaml:"google"`
	// This is a registry of Quay: sign in as a robot account with a token of an OIDC provider, by robot federation. See docs/recipes.md.
	Quay registryQuaySection `yaml:"quay"`
}

type registryQuaySection struct {
	origin
	// The robot account, as `organization+name`.
	Robot text `yaml:"robot" required:"" format:"robot" example:"acme+mirror"`
	// The file with the token, such as that of a Kubernetes service account. dray reads it each time that it signs in.
	TokenFile text `yaml:"tokenFile" required:"" example:"/var/run/secrets/tokens/quay"`
}

type registryGoogleSection struct {
	origin
	// A file of credentials: of a service account, of a user, or of workload identity federation; instead of the one that
	// `GOOGLE_APPLICATION_CREDENTIALS` names. dray trusts the addresses in it.
	CredentialsFile text `yaml:"credentialsFile" example:"/etc/dray/google.json"`
	// The e-mail address of a service account to act as.
	Impersonate text `yaml:"impersonate" format:"serviceAccount" example:"mirror@project.iam.gserviceaccount.com"`
}

type policySection struct {
	origin
	// The sources for which the policy holds, as host and path: a glob as in `repositories`, where `*` does not match `/` and `**` matches any number
	// of parts of a path, one at least at its end. Layouts match none. Of several policies the one with the longest matching pattern holds. Without this key the policy holds only where a mapping
	// names it.
	Images list[text] `yaml:"images" format:"imagesPattern" minItems:"1" unique:"" example:"ghcr.io/acme/**|docker.io/library/alpine"`
	// Those whose signatures count. One of them is enough, unless `threshold` says otherwise.
	Authorities list[authoritySection] `yaml:"authorities" required:"" minItems:"1"`
	// How many of the authorities must have signed an image.
	Threshold number `yaml:"threshold" min:"1" max:"64" default:"1"`
	// What must be signed: `image`, which for an image of several platforms is its index, or `platforms`, which is each manifest that the index names, in
	// place of the index.
	Signed text `yaml:"signed" enum:"image|platforms" default:"image"`
	// Predicate types of attestations, of which each must be there, signed by one of the authorities.
	Attestations list[text] `yaml:"attestations" minItems:"1" unique:"" example:"https://slsa.dev/provenance/v1"`
	// The repository that has the signatures and attestations, in place of that of each image: the `COSIGN_REPOSITORY` of who signs. dray reads them
	// there with the credentials of that registry, and does not copy them.
	SignaturesFrom text `yaml:"signaturesFrom" format:"oneRepository" example:"ghcr.io/acme/signatures"`
	// `enforce` refuses an image that is not verified, and leaves the target's tag as it is; `warn` imports it, and logs a warning.
	Mode text `yaml:"mode" enum:"enforce|warn" default:"enforce"`
}

type authoritySection struct {
	origin
	_ struct{} `oneof:"key|keyless"`
	// A public key in PEM: ECDSA, RSA or Ed25519. `cosign public-key` prints one. Several are those of one authority, of which one is enough.
	Key text `yaml:"key" example:"${file:/etc/dray/cosign.pub}"`
	// An identity that signs without a key of its own, with a certificate that its login has given: a workflow of GitHub's, or a person.
	Keyless keylessSection `yaml:"keyless"`
}

type keylessSection struct {
	origin
	// Who has signed in, as the certificate names it: the URL of a workflow, or a mail address.
	Subject text `yaml:"subject" oneof:"subject|subjectRegExp" example:"https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main"`
	// A regular expression (RE2) in place of `subject`. It has to match all of it, from beginning to end.
	SubjectRegExp text `yaml:"subjectRegExp" example:"https://github\\.com/acme/[^/]+/\\.github/workflows/release\\.yml@refs/tags/.*"`
	// Where it has signed in: the URL of the OpenID Connect issuer.
	Issuer text `yaml:"issuer" oneof:"issuer|issuerRegExp" example:"https://token.actions.githubusercontent.com"`
	// A regular expression (RE2) in place of `issuer`. It has to match all of it.
	IssuerRegExp text `yaml:"issuerRegExp" example:"https://oidc\\.eks\\.[a-z0-9-]+\\.amazonaws\\.com/id/.*"`
	// The `trusted_root.json` of the Sigstore instance, which `cosign trusted-root create --with-default-services` makes for the public one. dray
	// does not fetch it: who replaces it decides what is trusted.
	TrustedRoot text `yaml:"trustedRoot" required:"" example:"${file:/etc/dray/trusted_root.json}"`
}

type registryAWSSection struct {
	origin
	// A profile of the shared config files of AWS, instead of the one that `AWS_PROFILE` names.
	Profile text `yaml:"profile" example:"mirror"`
	// The ARN of a role to assume, such as one of another account. Its trust policy has to allow it.
	Role text `yaml:"role" format:"role" example:"arn:aws:iam::111122223333:role/mirror"`
	// The external ID that the role's trust policy asks for.
	ExternalID text `yaml:"externalID" requires:"role" example:"${env:AWS_EXTERNAL_ID}"`
	// Create a repository that does not exist, at the first upload into it: `true`, or a mapping with its settings. By default dray creates
	// none. For private registries. A repository that exists, or that a creation template makes, stays as it is.
	CreateRepositories createRepositoriesSection `yaml:"createRepositories" default:"false"`
}

type createRepositoriesSection struct {
	origin
	// Whether to create repositories.
	on bool
	// Tags of the repository, as `KEY=VALUE`.
	Tags list[text] `yaml:"tags" minItems:"1" unique:"" format:"keyValue" example:"team=platform|made-by=dray"`
	// Let ECR refuse to move tags.
	Immutable toggle `yaml:"immutable" default:"false"`
	// The encryption at rest: `AES256`, `KMS` with the key of AWS, `KMS_DSSE`, or the ARN of a key in KMS. By default what ECR does.
	Encryption text `yaml:"encryption" format:"encryption" example:"KMS|arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"`
	// A lifecycle policy, in JSON.
	Lifecycle text `yaml:"lifecycle" example:"${file:lifecycle.json}"`
}

type registryAzureSection struct {
	origin
	// The registry's resource ID. Without it dray looks the registry up by its login server, which needs the right to list registries.
	ResourceID text `yaml:"resourceID" format:"resource" example:"/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/images/providers/Microsoft.ContainerRegistry/registries/myregistry"`
	// Whether dray checks, through the data plane, what this registry holds as a target. `auto` finds out: if network rules, routing or
	// a missing pull right stand in the way, imports use the Resource Manager alone, and the results are unverified. `none` never asks
	// the data plane. `required` fails without it.
	DataPlane text `yaml:"dataPlane" enum:"auto|required|none" default:"auto"`
}

type azureSection struct {
	origin
	// The Azure cloud: `public`, `china`, `usgov`, or the endpoints of another one.
	Cloud cloudSection `yaml:"cloud" default:"public"`
	// How to sign in.
	Credential azureCredentialSection `yaml:"credential"`
	// Limits of the imports that Azure makes by itself.
	Import azureImportSection `yaml:"import"`
}

type cloudSection struct {
	origin
	// The name of a cloud that is known.
	name string
	// The URL of the cloud's Resource Manager.
	ARMEndpoint text `yaml:"armEndpoint" required:"" format:"url" example:"https://management.azurestack.example.com"`
	// The audience of tokens for the Resource Manager.
	ARMAudience text `yaml:"armAudience" required:"" format:"url" example:"https://management.azurestack.example.com"`
	// The URL of the cloud's sign-in.
	AuthorityHost text `yaml:"authorityHost" required:"" format:"url" example:"https://login.azurestack.example.com"`
	// The suffix of the login servers of its registries.
	RegistrySuffix text `yaml:"registrySuffix" required:"" format:"suffixHost" example:"azurecr.azurestack.example.com"`
	// A PEM file of CAs to trust besides the system's, for the Resource Manager and the sign-in.
	CAFile text `yaml:"caFile" example:"/etc/dray/stack.pem"`
}

type azureCredentialSection struct {
	origin
	// `default` uses the first that works: environment, workload identity, managed identity, Azure CLI.
	Kind text `yaml:"kind" enum:"default|workload-identity|managed-identity|client-secret|client-certificate|azure-cli" default:"default"`
	// The tenant to sign in to.
	TenantID text `yaml:"tenantID" example:"${env:AZURE_TENANT_ID}"`
	// The client ID of the application or of a user-assigned managed identity.
	ClientID text `yaml:"clientID" example:"${env:AZURE_CLIENT_ID}"`
	// The application's secret. Keep it out of this file, with `${env:NAME}` or `${file:PATH}`.
	ClientSecret text `yaml:"clientSecret" requires:"clientID" example:"${file:/run/secrets/azure}"`
	// A file with the application's certificate and key, in PEM or PKCS#12.
	CertificateFile text `yaml:"certificateFile" requires:"clientID" example:"/etc/dray/azure.pem"`
	// The password of the certificate file, if it has one.
	CertificatePassword text `yaml:"certificatePassword" requires:"certificateFile" example:"${file:/run/secrets/azure-certificate}"`
}

type azureImportSection struct {
	origin
	// How many imports one registry runs at once.
	Parallel number `yaml:"parallel" min:"1" max:"50" default:"4"`
	// How many imports to start per second at most, over all registries.
	Rate number `yaml:"rate" min:"1" max:"10" default:"2"`
	// How long one import may take.
	Timeout text `yaml:"timeout" format:"duration" default:"30m" example:"30m|2h"`
}

type rateLimitSection struct {
	origin
	// How many pulls of a window to leave for others who share the account or address: a number, or a percentage such as `10%`.
	Keep text `yaml:"keep" format:"keep" default:"0" example:"10|10%"`
	// The highest number of requests per second, of any kind. With `cluster` it is for all replicas together.
	RequestsPerSecond number `yaml:"requestsPerSecond" min:"1" max:"10000" example:"5"`
	// How many manifests may be fetched per `window`, if the registry does not report it.
	PullsPerWindow number `yaml:"pullsPerWindow" requires:"window" min:"1" max:"1000000" example:"200"`
	// The window of `pullsPerWindow`, up to 31 days.
	Window text `yaml:"window" requires:"pullsPerWindow" format:"duration" example:"1h|6h"`
}

type tlsSection struct {
	origin
	// A PEM file of CAs to trust besides the system's. A relative path starts at this file's folder.
	CAFile text `yaml:"caFile" example:"/etc/dray/ca.pem"`
	// A PEM file with the client certificate (mTLS).
	CertFile text `yaml:"certFile" requires:"keyFile" example:"/etc/dray/client.pem"`
	// A PEM file with the key of `certFile`.
	KeyFile text `yaml:"keyFile" requires:"certFile" example:"/etc/dray/client.key"`
	// Accept any certificate. Anybody on the network path can then read and change everything.
	InsecureSkipVerify toggle `yaml:"insecureSkipVerify" default:"false"`
}

type mappingSection struct {
	origin
	_ struct{} `oneof:"target|targets" some:"source|images|imagesFrom"`
	// The mapping's name in logs, reports and commands; unique. By default the path of the source repository; a mapping with `images` or
	// `imagesFrom` needs one.
	Name text `yaml:"name" format:"name" example:"alpine"`
	// Where images come from: a repository, whose tags `tags` selects; one image by `:tag` or `@digest`; or, with `repositories`, a
	// common prefix. `ocidir://PATH` is an OCI image layout, a directory. Credentials belong in `registries`.
	Source text `yaml:"source" format:"reference" example:"docker.io/library/alpine|ghcr.io/acme/base:1.4|ocidir:///srv/stage/alpine"`
	// Instead of `source`: the images to import, each with a tag, a digest or both; `latest` where it has neither. Targets are then prefixes,
	// and `rename` says where below them an image goes. An image with a digest is imported by it. One without a tag becomes the tag
	// `digest-` with the first 32 digits of its digest; with `untagged: true`, no tag.
	Images list[text] `yaml:"images" format:"reference" requires:"name" never:"source|images" minItems:"1" unique:"" example:"docker.io/grafana/grafana:12.1.0|registry.k8s.io/pause:3.10"`
	// Instead of `source`, or besides `images`: files that name the images, by path or by a pattern for the last part of a path. They are lists with a
	// reference on each line, Kubernetes manifests and what `helm template` prints, compose files, and Dockerfiles; `dray images FILE` shows
	// what dray finds in one. A list is short for `files`. A relative path starts at this file's folder. `dray run` follows each file; where
	// one cannot be read, this config file's mappings stay as they were.
	ImagesFrom imagesFromSection `yaml:"imagesFrom" requires:"name" never:"source|imagesFrom" example:"rendered/*.yaml|compose.yaml|images.txt"`
	// Where below the targets an image of `images` or `imagesFrom` goes: a path with `{{.Registry}}`, its registry without a port, `{{.Repository}}`,
	// its repository, `{{.Name}}`, the last part of that, and `{{.Tag}}`. By default `{{.Registry}}/{{.Repository}}`. Two images that would be
	// one tag of a target are an error.
	Rename text `yaml:"rename" example:"{{.Registry}}/{{.Repository}}|{{.Name}}"`
	// Where images go, in the same form. If the source is one image, the target may have a tag; by default it is the source's.
	// `{{.Registry}}` stands for the source's registry, without a port, and `{{.Repository}}` for its repository; with `repositories`, whose paths
	// are added at the end, `{{.Repository}}` can only be the last thing in it.
	Target text `yaml:"target" format:"target" example:"registry.example.com/mirror/alpine|ocidir:///srv/stage/alpine"`
	// Several targets, instead of `target`.
	Targets list[text] `yaml:"targets" format:"target" minItems:"1" unique:""`
	// Import several repositories. Source and targets are then prefixes. An entry is a path or a glob: `*` and `?` do not match `/`,
	// `[a-z]` matches one of these characters, and `**` any number of parts of a path, as in `team/**`. An entry that begins with `!` leaves out
	// what it matches; quote it, since YAML has a meaning for `!`. A glob needs a registry that lists its catalog.
	Repositories list[text] `yaml:"repositories" format:"repository" minItems:"1" unique:"" example:"builder|lint-*|!lint-old"`
	options
}

type defaultsSection struct {
	origin
	options
}

// options are the keys of a mapping that can stand in defaults, too.
type options struct {
	// Which tags of a repository to import: a list of tags, patterns and mappings with the keys below, each of which selects on its own;
	// or one such mapping. `["*"]` selects every tag.
	Tags tagsSection `yaml:"tags"`
	// What the tags are called at the targets: `{{.Tag}}` with letters, digits, `.`, `_` and `-` before and after it, up to 64. A target that
	// names a tag keeps that. `immutable` and the keys of `tags` are about the source's tags.
	Retag text `yaml:"retag" format:"retag" example:"{{.Tag}}-mirror|acme-{{.Tag}}"`
	// Keep only these platforms of a multi-platform image: os/arch or os/arch/variant. By default all. If an image lacks one that does not
	// end with `?`, dray imports those that it has, reports the tag as refused, and does not move a tag that the target has already. An
	// image that has none of them is always refused. The platform of a single-platform image is read from its config. A list is short for
	// `want`.
	Platforms platformsSection `yaml:"platforms" example:"linux/amd64|linux/arm64|linux/arm/v7?"`
	// What to do when a tag has moved at the source: `follow` moves it at the target too, `refuse` reports it.
	Moved text `yaml:"moved" enum:"follow|refuse" default:"follow"`
	// Tags that never move, as patterns like those of `tags.include`. Once the target has such a tag, dray only checks that it is in the
	// target's tag list: it asks the source nothing, and looks for no later signatures. If dray sees that one has moved, it refuses it.
	Immutable list[text] `yaml:"immutable" format:"tag" minItems:"1" unique:"" example:"v*|/[0-9]+[.][0-9]+[.][0-9]+/"`
	// Whether signatures, SBOMs and attestations are imported with their image: `true`, `false`, or a list of artifact types.
	Referrers referrersSection `yaml:"referrers" format:"artifact" minItems:"1" unique:"" default:"true" example:"application/vnd.dev.sigstore.bundle.v0.3+json"`
	// How often to look for new signatures, SBOMs and attestations of an unchanged image; they are often added later. At the same time
	// dray checks that the target still has every platform of the image. This needs `stateDir`; without it they are imported only
	// together with their image.
	ReferrersInterval text `yaml:"referrersInterval" format:"duration" default:"24h" example:"24h|1h"`
	// Also import layers that a manifest refers to by URL, such as those of old Windows base images: from the source registry, else from
	// the URLs. It applies to later imports.
	ForeignLayers toggle `yaml:"foreignLayers" default:"false"`
	// What imports: `copy` streams through dray; `acr` lets Azure Container Registry import by itself, with no byte through dray; `auto`
	// uses `acr` where the target has `azure` and the mapping allows it.
	Engine text `yaml:"engine" enum:"auto|copy|acr" default:"auto"`
	// What resolves tags: dray (`here`) or, with `engine: acr`, the target registry (`server`), for a source that dray cannot reach.
	// Changes then show only after each import.
	Resolve text `yaml:"resolve" enum:"here|server" default:"here"`
	// Import a source digest without a tag, if the target names none.
	Untagged toggle `yaml:"untagged" default:"false"`
	// When to look for changes: five cron fields (minute, hour, day of the month, month, day of the week), `@hourly`, `@daily`,
	// `@weekly`, `@monthly`, `@yearly`, or `@every` and a duration. Without a schedule, `dray run` runs the mapping once, and again when
	// it changes; `""` overrides a default. A run that was missed while dray was down is made up for once.
	Schedule text `yaml:"schedule" format:"schedule" empty:"" example:"17 */6 * * *|@every 90m|@daily"`
	// The longest delay after the scheduled time, so that mappings do not all run at once. Each mapping always has the same delay. A new
	// or changed mapping runs at once.
	Jitter text `yaml:"jitter" format:"span" default:"0s" example:"10m"`
	// When runs may begin, in the time zone of `timezone`; by default always. Outside of its windows a mapping's run is deferred until the next
	// one opens, also where events name tags. `dray trigger JOB` runs it at once, and `dray sync` heeds no windows.
	Windows list[windowSection] `yaml:"windows" minItems:"1"`
	// What becomes of a run that is under way when its window ends: `finish` lets it go on to its end, `cut` ends it and its imports; what
	// is left runs when the next window opens. A run that somebody asked for outside of the windows goes on.
	WindowEnd text `yaml:"windowEnd" enum:"finish|cut" default:"finish"`
	// The policy of `verify` that the source's images must satisfy, whatever its `images` are; or `false` for none. By default the policy whose
	// `images` match.
	Verify text `yaml:"verify" format:"policy" example:"acme|false"`
	// The time zone of `schedule` and `windows`, by its IANA name.
	Timezone text `yaml:"timezone" format:"timezone" default:"UTC" example:"Europe/Berlin"`
	// Of the mappings that are due at the same time, the one with the highest priority runs first.
	Priority number `yaml:"priority" min:"-100" max:"100" default:"0"`
	// The longest time that one attempt of an import may work. Waiting for a turn at a registry does not count. It also limits a list of
	// tags or repositories, and a look at one tag, to at most an hour each.
	Timeout text `yaml:"timeout" format:"duration" default:"12h" example:"30m|1h30m"`
	// How often to retry an import after a temporary failure.
	Retries number `yaml:"retries" min:"0" max:"10" default:"3"`
}

type imagesFromSection struct {
	origin
	// The files, by path or pattern.
	Files list[text] `yaml:"files" required:"" minItems:"1" unique:"" example:"rendered/*.yaml|compose.yaml|images.txt"`
	// Where else in YAML files images are, as in the fields of custom resources: keys that are joined by dots, with `*` for any key and `**` for
	// any number of them. Lists count as what they contain; a key with a dot stands in double quotes. A path leads to a reference, to a
	// flag with one, or to a mapping with `repository` and `tag`.
	Paths list[text] `yaml:"paths" minItems:"1" unique:"" example:"spec.driver|**.sidecarImage"`
}

type windowSection struct {
	origin
	// The days on which the window opens: `mon` to `sun`, or ranges such as `mon-fri`. By default every day.
	Days list[text] `yaml:"days" format:"days" minItems:"1" unique:"" example:"mon-fri|sun"`
	// The time of the day at which it opens.
	From text `yaml:"from" required:"" format:"clock" example:"22:00"`
	// The time at which it closes, `24:00` at the latest. One that is not later than `from` is on the next day. On days when the clock is set
	// forward or back, the window is open while the clock shows its hours.
	To text `yaml:"to" required:"" format:"clock" example:"06:00"`
}

type platformsSection struct {
	origin
	// The platforms to keep.
	Want list[text] `yaml:"want" required:"" format:"platform" minItems:"1" unique:"" example:"linux/amd64|linux/arm64|linux/arm/v7?"`
	// What an image that lacks some of them is: `fail` reports its tag as refused, though those that it has are imported where the target
	// has no such tag; `skip` does without them.
	Missing text `yaml:"missing" enum:"fail|skip" default:"fail"`
}

type tagsSection struct {
	origin
	// Tags, globs over the whole tag (`*`, `?`, `[a-z]`, `{a,b}`), or `/RE2/` over the whole tag. If all are literal, dray does not
	// fetch the tag list. With semver, suffix or newest the default is every tag.
	Include list[text] `yaml:"include" format:"tag" minItems:"1" example:"latest|3.*|/v[0-9]+/"`
	// Tags to leave out, in the same syntax.
	Exclude list[text] `yaml:"exclude" format:"tag" minItems:"1" example:"*_rc*"`
	// Keep versions in this range (Masterminds syntax). Pre-releases match only if the range names one.
	Semver text `yaml:"semver" format:"range" example:">= 3.19|~1.4|1.x"`
	// Keep tags with this suffix. The version is read from the part before it.
	Suffix text `yaml:"suffix" format:"suffix" example:"-alpine"`
	// Keep this many of the highest versions, or the latest in the order that `sort` names.
	Newest number `yaml:"newest" min:"1" example:"5"`
	// The order of `newest`: `semver` by version; `date` by the date in a tag, such as `20240329` or `2024-03-29.2`; `numeric` by the
	// numbers in a tag, such as `build-117`.
	Sort text `yaml:"sort" enum:"semver|date|numeric" requires:"newest" default:"semver"`
	// The least number of tags to select. If there are fewer, the outcome is `nothing-chosen`, which counts as a failure; `0` allows
	// none, also for each repository that a pattern of `repositories` matches. A tag that `include` names must always exist.
	Min number `yaml:"min" min:"0" default:"1"`

	// sets are the entries that are mappings, where tags is a list.
	sets []tagsSection
}
