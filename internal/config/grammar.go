package config

// The grammar of a config file. Each field is a key, and all there is to say about a key is said at its field:
//
//   - `yaml` is its name, and the comment above it is its description in the JSON schema.
//   - `required` without a value, `default`, `enum`, `min`, `max`, `minItems` and `unique` are what they are in JSON schema.
//   - `requires` names a key that must stand beside it; `host` marks a key that holds for a whole registry only.
//   - `format` names the pattern that the JSON schema has for it, and `example` a valid value; "|" separates several.
//   - `empty` lets a text be written as "", which means none.
//   - `oneof` names keys of which exactly one must be there, and `never` keys of which each excludes all others.
//
// A list's tags hold for its entries where they are about scalars.

// document is a whole file.
type document struct {
	origin
	// The version of this file's grammar.
	Version number `yaml:"version" required:"" min:"1" max:"1"`
	// The folder in which dray remembers what it has fetched and where it is, for later runs. By default it is
	// `$STATE_DIRECTORY`, else `$XDG_STATE_HOME/dray`, else `~/.local/state/dray`. A relative path is relative to this file's
	// folder. Deleting the folder makes dray slower once, and never wrong.
	StateDir text `yaml:"stateDir" example:"/var/lib/dray"`
	// What is logged and how. Flags of the command line override it.
	Log logSection `yaml:"log"`
	// What `dray run` answers by HTTP: health, metrics, status, and requests to run a job or to read this file anew.
	Server serverSection `yaml:"server"`
	// How many jobs `dray run` runs at once. One that waits for its registries, as it moves less than a MiB in 250 ms, does not count,
	// except among those between the same registries.
	Jobs number `yaml:"jobs" min:"1" max:"64" default:"4"`
	// How long `dray run`, when it is told to stop, waits for what is under way before it cuts it off; up to 10m. Keep the
	// service manager's own patience above it.
	ShutdownGrace text `yaml:"shutdownGrace" format:"span" default:"25s" example:"25s|0s"`
	// Whom `dray run` tells what happens.
	Notifications series[notificationSection] `yaml:"notifications" minItems:"1"`
	// What holds for each mapping that does not say otherwise: any key of a mapping except `name`, `source`, `target`, `targets`
	// and `repositories`. A mapping's own key replaces the default as a whole.
	Defaults defaultsSection `yaml:"defaults"`
	// Credentials and connections, by registry: a host such as `ghcr.io` or `localhost:5000`, or host/path for credentials
	// that hold for a part of it, where the longest match wins. A registry that is not listed is asked over HTTPS with the
	// credentials that `docker login` left. A host has one name: upper case, a dot at its end, port 443, zeros before a port, and
	// the ways to write an address make no difference, here, in references, in `mirrors` and in Docker's config.json; port 80 makes
	// none where the host without it has `plainHTTP`. `index.docker.io`, `registry-1.docker.io` and `registry.hub.docker.com` are
	// `docker.io`.
	Registries dict[registrySection] `yaml:"registries" format:"registry"`
	// Azure, for the registries that have `azure`: which cloud, how to sign in, and how many imports it is asked for at once.
	Azure azureSection `yaml:"azure"`
	// What to bring where.
	Mappings series[mappingSection] `yaml:"mappings" required:"" minItems:"1"`
}

type logSection struct {
	origin
	// The least important messages to log.
	Level text `yaml:"level" enum:"debug|info|warn|error" default:"info"`
	// `auto` is text on a terminal and JSON elsewhere.
	Format text `yaml:"format" enum:"auto|text|json" default:"auto"`
}

type serverSection struct {
	origin
	// Where to listen: host:port, `unix:` and the absolute path of a socket, or `""` for nowhere. Set a `token` where
	// others can reach it: what can be asked for costs time and requests.
	Listen text `yaml:"listen" format:"listen" empty:"" default:"127.0.0.1:8484" example:"127.0.0.1:8484|unix:/run/dray/dray.sock"`
	// What a request that changes something has to show, as `Authorization: Bearer TOKEN`: 16 to 512 letters, digits and
	// punctuation. Keep it out of this file, with `${env:NAME}` or `${file:PATH}`.
	Token text `yaml:"token" format:"token" example:"${env:DRAY_TOKEN}|${file:/run/secrets/dray}"`
}

type notificationSection struct {
	origin
	// The URL to POST to, http or https. It often is a secret itself: keep it out of this file then, with `${env:NAME}` or
	// `${file:PATH}`.
	Webhook text `yaml:"webhook" required:"" format:"webhook" example:"https://hooks.example.com/dray|${file:/run/secrets/webhook}"`
	// What to sign with (HMAC), as Standard Webhooks does: at least 24 characters, or `whsec_` and base64.
	Secret text `yaml:"secret" example:"${env:WEBHOOK_SECRET}|${file:/run/secrets/webhook-key}"`
	// What to tell: by default all but `imported`.
	On list[text] `yaml:"on" enum:"imported|failed|recovered|config-rejected|config-accepted" minItems:"1" unique:"" example:"failed|recovered"`
	// A Go template of the JSON to send instead of a CloudEvent, for chat systems.
	Template text `yaml:"template" example:"{\"text\": {{json .Summary}}}"`
}

type registrySection struct {
	origin
	_ struct{} `never:"tls|plainHTTP"`
	// The name to sign in with. Without a way to sign in, dray looks for what `docker login` has left.
	Username text `yaml:"username" requires:"password" example:"${env:REGISTRY_USERNAME}"`
	// The password or access token to sign in with. Keep it out of this file, with `${env:NAME}` or `${file:PATH}`.
	Password text `yaml:"password" requires:"username" example:"${env:REGISTRY_PASSWORD}|${file:/run/secrets/registry}"`
	// A refresh token of the registry's token server, which some give instead of a password. Keep it out of this file.
	IdentityToken text `yaml:"identityToken" example:"${file:/run/secrets/registry-token}"`
	// A program to ask for the credential, by the name behind `docker-credential-`: one that is on PATH, and speaks the protocol of
	// Docker's credential helpers. It is asked again every hour. `dray check` says where it is not installed.
	CredentialHelper text `yaml:"credentialHelper" format:"helper" example:"ecr-login|gcloud|pass"`
	// Sign in as nobody, whatever `docker login` has left.
	Anonymous toggle `yaml:"anonymous" default:"false"`
	// Certificates, for a registry whose own the system does not trust, or that wants one from its clients.
	TLS tlsSection `yaml:"tls" host:""`
	// Talk HTTP without TLS, as to a registry on this machine.
	PlainHTTP toggle `yaml:"plainHTTP" host:"" default:"false"`
	// How many requests of one kind to this registry may be in flight at once. The kinds are looking, fetching blobs, writing, sending
	// blobs, and signing in. A blob that waits for the other side of a copy does not count meanwhile.
	Concurrency number `yaml:"concurrency" host:"" min:"1" max:"256" example:"16"`
	// What to keep within, where the registry counts: Docker Hub says itself how many pulls are left.
	RateLimit rateLimitSection `yaml:"rateLimit" host:""`
	// Where this registry's content can be had as well: hosts, or host/path below which its repositories lie. What a tag
	// stands for is asked at the registry itself; manifests and blobs come by digest from the first mirror that has them, are
	// checked, and come from the registry where none has. So pulls of Docker Hub are spared.
	Mirrors list[text] `yaml:"mirrors" host:"" minItems:"1" unique:"" format:"mirror" example:"mirror.gcr.io|public.ecr.aws/docker/library|cache.example.com:5000/hub"`
	// This is an Azure Container Registry: sign in through Entra, and let it import by itself what it can. `{}` is enough.
	Azure registryAzureSection `yaml:"azure" host:"" never:"azure|username|identityToken|credentialHelper|anonymous"`
}

type registryAzureSection struct {
	origin
	// The registry's resource ID. Without it the registry is looked up by its login server, which takes the right to read the
	// registries of a subscription.
	ResourceID text `yaml:"resourceID" format:"resource" example:"/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/images/providers/Microsoft.ContainerRegistry/registries/myregistry"`
	// Whether dray looks at what the registry holds as a target, through its data plane. `auto` finds out by its answer: where its network
	// rules refuse, nothing leads there, or the identity may not pull, imports need nothing but the Resource Manager, and what it says is
	// not verified. `none` does so without asking, `required` fails instead.
	DataPlane text `yaml:"dataPlane" enum:"auto|required|none" default:"auto"`
}

type azureSection struct {
	origin
	// Which Azure: `public`, `china`, `usgov`, or the hosts of another one.
	Cloud cloudSection `yaml:"cloud" default:"public"`
	// How to sign in.
	Credential azureCredentialSection `yaml:"credential"`
	// Imports that Azure makes by itself.
	Import azureImportSection `yaml:"import"`
}

type cloudSection struct {
	origin
	// The name of a cloud that is known.
	name string
	// The URL of its Resource Manager.
	ARMEndpoint text `yaml:"armEndpoint" required:"" format:"url" example:"https://management.azurestack.example.com"`
	// What tokens for its Resource Manager are for.
	ARMAudience text `yaml:"armAudience" required:"" format:"url" example:"https://management.azurestack.example.com"`
	// The URL of its sign-in.
	AuthorityHost text `yaml:"authorityHost" required:"" format:"url" example:"https://login.azurestack.example.com"`
	// What the login servers of its registries end with.
	RegistrySuffix text `yaml:"registrySuffix" required:"" format:"suffixHost" example:"azurecr.azurestack.example.com"`
	// A file of PEM certificates to trust besides the system's, for its Resource Manager and its sign-in.
	CAFile text `yaml:"caFile" example:"/etc/dray/stack.pem"`
}

type azureCredentialSection struct {
	origin
	// `default` takes the first that there is: the environment, workload identity, managed identity, Azure's command line.
	Kind text `yaml:"kind" enum:"default|workload-identity|managed-identity|client-secret|client-certificate|azure-cli" default:"default"`
	// The tenant to sign in to.
	TenantID text `yaml:"tenantID" example:"${env:AZURE_TENANT_ID}"`
	// The application, or a managed identity that a user has made.
	ClientID text `yaml:"clientID" example:"${env:AZURE_CLIENT_ID}"`
	// The secret of the application. Keep it out of this file, with `${env:NAME}` or `${file:PATH}`.
	ClientSecret text `yaml:"clientSecret" requires:"clientID" example:"${file:/run/secrets/azure}"`
	// A file with the certificate of the application and its key, in PEM or PKCS#12.
	CertificateFile text `yaml:"certificateFile" requires:"clientID" example:"/etc/dray/azure.pem"`
	// The password of the certificate's file, where it has one.
	CertificatePassword text `yaml:"certificatePassword" requires:"certificateFile" example:"${file:/run/secrets/azure-certificate}"`
}

type azureImportSection struct {
	origin
	// How many imports one registry makes at once.
	Parallel number `yaml:"parallel" min:"1" max:"50" default:"4"`
	// How many imports are asked for in a second at the most, over all registries.
	Rate number `yaml:"rate" min:"1" max:"10" default:"2"`
	// How long one import may take.
	Timeout text `yaml:"timeout" format:"duration" default:"30m" example:"30m|2h"`
}

type rateLimitSection struct {
	origin
	// How many pulls of a window to leave to others on the same account or address: a number, or a part such as `10%`.
	Keep text `yaml:"keep" format:"keep" default:"0" example:"10|10%"`
	// How many requests of any kind to send in a second at the most.
	RequestsPerSecond number `yaml:"requestsPerSecond" min:"1" max:"10000" example:"5"`
	// How many manifests may be fetched in a `window`, where the registry does not say so itself.
	PullsPerWindow number `yaml:"pullsPerWindow" requires:"window" min:"1" max:"1000000" example:"200"`
	// The window of `pullsPerWindow`: up to 31 days.
	Window text `yaml:"window" requires:"pullsPerWindow" format:"duration" example:"1h|6h"`
}

type tlsSection struct {
	origin
	// A file of PEM certificates to trust besides the system's. A relative path is relative to this file's folder.
	CAFile text `yaml:"caFile" example:"/etc/dray/ca.pem"`
	// A file with the PEM certificate to identify with (mTLS).
	CertFile text `yaml:"certFile" requires:"keyFile" example:"/etc/dray/client.pem"`
	// A file with the PEM key of `certFile`.
	KeyFile text `yaml:"keyFile" requires:"certFile" example:"/etc/dray/client.key"`
	// Trust any certificate. Whoever stands in between can then read and change everything.
	InsecureSkipVerify toggle `yaml:"insecureSkipVerify" default:"false"`
}

type mappingSection struct {
	origin
	_ struct{} `oneof:"target|targets"`
	// What logs, reports and commands call the mapping; unique. By default the path of the source's repository.
	Name text `yaml:"name" format:"name" example:"alpine"`
	// Where images come from: a repository, whose tags are then chosen by `tags`; one image by `:tag` or `@digest`; or, with
	// `repositories`, the prefix that they have in common. `ocidir://PATH` is an OCI image layout, a directory. A user's name and
	// password have no place here, see `registries`.
	Source text `yaml:"source" required:"" format:"reference" example:"docker.io/library/alpine|ghcr.io/acme/base:1.4|ocidir:///srv/stage/alpine"`
	// Where images go, written as the source is. It takes a tag where the source is one image, by default the source's tag.
	Target text `yaml:"target" format:"target" example:"registry.example.com/mirror/alpine|ocidir:///srv/stage/alpine"`
	// Several targets, instead of `target`.
	Targets list[text] `yaml:"targets" format:"target" minItems:"1" unique:""`
	// Bring several repositories below the prefixes that source and targets then are. An entry is a path or a glob: `*` and
	// `?` do not cross a `/`, `[a-z]` is one character of these. A glob needs a registry that lists its catalog.
	Repositories list[text] `yaml:"repositories" format:"repository" minItems:"1" unique:"" example:"builder|lint-*"`
	options
}

type defaultsSection struct {
	origin
	options
}

// options are the keys of a mapping that can stand in defaults, too.
type options struct {
	// Which tags of a repository: a list of tags, patterns, and mappings with the keys below, of which each chooses for itself; or one
	// such mapping alone. Write `["*"]` to mean every tag.
	Tags tagsSection `yaml:"tags"`
	// Keep only these platforms of a multi-platform image: os/arch or os/arch/variant. By default all are kept. An image that lacks
	// one is refused, unless a `?` behind it says that it may be missing; of an image of one platform its config says which. A list is
	// short for `want`. An image that has none of them is refused in any case.
	Platforms platformsSection `yaml:"platforms" example:"linux/amd64|linux/arm64|linux/arm/v7?"`
	// What to do when a tag that the target has points elsewhere at the source: `follow` moves it, `refuse` reports it.
	Moved text `yaml:"moved" enum:"follow|refuse" default:"follow"`
	// Tags that never move, written as `tags.include` is. Once a target has one, nothing is spent on it but a list of the target's tags: it is
	// not looked for at the source, nor are signatures that come after it. One that is seen to have moved is refused.
	Immutable list[text] `yaml:"immutable" format:"tag" minItems:"1" unique:"" example:"v*|/[0-9]+[.][0-9]+[.][0-9]+/"`
	// Whether signatures, SBOMs and attestations travel along: `true`, `false`, or a list of artifact types.
	Referrers referrersSection `yaml:"referrers" format:"artifact" minItems:"1" unique:"" default:"true" example:"application/vnd.dev.sigstore.bundle.v0.3+json"`
	// How often an image that has not changed is looked at for new signatures, SBOMs and attestations, which often come after
	// it. This needs the memory of `stateDir`; without it they travel only as their image is imported.
	ReferrersInterval text `yaml:"referrersInterval" format:"duration" default:"24h" example:"24h|1h"`
	// Bring the layers that a manifest names by URLs as well, such as those of old Windows base images: from the source's
	// registry or else from their URLs. It holds for what is imported from then on.
	ForeignLayers toggle `yaml:"foreignLayers" default:"false"`
	// Who brings the images: `copy` streams them through dray; `acr` has Azure Container Registry import them by itself, without
	// a byte through dray; `auto` takes `acr` where the target has `azure` and the mapping allows it.
	Engine text `yaml:"engine" enum:"auto|copy|acr" default:"auto"`
	// Who finds out what a tag stands for: dray (`here`), or, with `engine: acr`, the target's registry alone (`server`), where
	// the source cannot be reached from here. What changed then shows only after each import.
	Resolve text `yaml:"resolve" enum:"here|server" default:"here"`
	// Let what a source's digest names arrive without a tag, where the target has none.
	Untagged toggle `yaml:"untagged" default:"false"`
	// When to look for changes: five fields of cron (minute, hour, day of the month, month, day of the week), `@hourly`,
	// `@daily`, `@weekly`, `@monthly`, `@yearly`, or `@every` and a duration. A mapping without a schedule, which `""` makes it
	// beside a default, is run by `dray run` once, and when it changes. What came due while dray was down is run once.
	Schedule text `yaml:"schedule" format:"schedule" empty:"" example:"17 */6 * * *|@every 90m|@daily"`
	// Up to how much later than its schedule a mapping runs, always by the same share, so that not all run at once; `0s` for
	// none. A mapping that is new or has changed runs at once.
	Jitter text `yaml:"jitter" format:"span" default:"0s" example:"10m"`
	// The time zone of `schedule`, by its IANA name.
	Timezone text `yaml:"timezone" format:"timezone" default:"UTC" example:"Europe/Berlin"`
	// Which of the mappings that are due at one time comes first: that with the highest.
	Priority number `yaml:"priority" min:"-100" max:"100" default:"0"`
	// How long one try of one import may work. The time in which it waits for its turn at a registry does not count. It holds also for a list of
	// tags or repositories and for a look at one tag, each of which may take an hour at the most.
	Timeout text `yaml:"timeout" format:"duration" default:"12h" example:"30m|1h30m"`
	// How often an import is tried again after a failure that may pass.
	Retries number `yaml:"retries" min:"0" max:"10" default:"3"`
}

type platformsSection struct {
	origin
	// The platforms to keep.
	Want list[text] `yaml:"want" required:"" format:"platform" minItems:"1" unique:"" example:"linux/amd64|linux/arm64|linux/arm/v7?"`
	// What to do with an image that lacks some of them: `fail` refuses it, `skip` brings those that are there.
	Missing text `yaml:"missing" enum:"fail|skip" default:"fail"`
}

type tagsSection struct {
	origin
	// Tags, globs over the whole tag (`*`, `?`, `[a-z]`, `{a,b}`), or `/RE2/` over the whole tag. Only literals: the tag list
	// is not fetched. Beside semver, suffix or newest the default is every tag.
	Include list[text] `yaml:"include" format:"tag" minItems:"1" example:"latest|3.*|/v[0-9]+/"`
	// What to take from `include`, in the same syntax.
	Exclude list[text] `yaml:"exclude" format:"tag" minItems:"1" example:"*_rc*"`
	// Keep versions in this range (Masterminds syntax); pre-releases only where the range names one.
	Semver text `yaml:"semver" format:"range" example:">= 3.19|~1.4|1.x"`
	// Keep tags that end so; versions are read from what stands before it.
	Suffix text `yaml:"suffix" format:"suffix" example:"-alpine"`
	// Keep this many of the highest versions, or of the first in another order that `sort` names.
	Newest number `yaml:"newest" min:"1" example:"5"`
	// The order that `newest` goes by: `semver`, versions; `date`, the day that a tag names, such as `20240329` or `2024-03-29.2`; or
	// `numeric`, the numbers in a tag, such as `build-117`.
	Sort text `yaml:"sort" enum:"semver|date|numeric" requires:"newest" default:"semver"`
	// How many tags there have to be. Where less is chosen the outcome is `nothing-chosen`, which counts as failed; `0` allows none,
	// also of the repositories that a pattern of `repositories` stands for. A tag that `include` names always has to be there.
	Min number `yaml:"min" min:"0" default:"1"`

	// sets are the entries that are mappings, where tags is a list.
	sets []tagsSection
}
