package config

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"github.com/draysync/dray/internal/keyless"
)

const referenceFile = root + "/docs/configuration.md"

// manual makes docs/configuration.md of the grammar's types, with an example a key: `go generate ./internal/config` runs it.
type manual struct {
	docs map[string]string // comments by struct and field
	text strings.Builder
	// examples are those that it shows, by key.
	examples map[string]string
}

// keylessExample is a policy with a keyless authority.
func keylessExample(subject string) string {
	return "verify:\n  acme:\n    authorities:\n      - keyless:\n          " + subject + "\n          issuer: https://token.actions.githubusercontent.com\n          trustedRoot: ${file:/etc/dray/trusted_root.json}"
}

// shown are examples that do not follow from a key alone, because it wants others beside it. "~" stands for nothing to show.
var shown = map[string]string{
	"version":       "version: 1",
	"include":       "include: [conf.d/*.yaml]",
	"log":           "log: {level: debug}",
	"server":        "server: {listen: \"127.0.0.1:8484\"}",
	"cluster":       "cluster: {ledger: \"postgres://dray@db.corp.example/dray\"}",
	"notifications": "notifications:\n  - webhook: ${file:/run/secrets/webhook}\n    on: [failed, recovered]",
	"defaults":      "defaults:\n  schedule: \"17 */6 * * *\"\n  platforms: [linux/amd64, linux/arm64]",
	"registries":    "registries:\n  docker.io:\n    username: ${env:DOCKERHUB_USERNAME}\n    password: ${file:/run/secrets/dockerhub}\n  ghcr.io/acme:\n    username: robot\n    password: ${env:GHCR_TOKEN}",
	"mappings":      "mappings:\n  - source: docker.io/library/alpine\n    target: registry.example.com/mirror/alpine\n    tags: {semver: \">= 3.20\", newest: 2}",

	"server.registry":                                   "server:\n  registry: {layouts: [/srv/stage], listen: 127.0.0.1:5000}",
	"registries.HOST.aws":                               "registries:\n  111122223333.dkr.ecr.eu-west-1.amazonaws.com: {aws: {}}",
	"registries.HOST.aws.profile":                       "registries:\n  111122223333.dkr.ecr.eu-west-1.amazonaws.com:\n    aws: {profile: mirror}",
	"registries.HOST.aws.role":                          "registries:\n  111122223333.dkr.ecr.eu-west-1.amazonaws.com:\n    aws: {role: \"arn:aws:iam::111122223333:role/mirror\"}",
	"registries.HOST.aws.externalID":                    "registries:\n  111122223333.dkr.ecr.eu-west-1.amazonaws.com:\n    aws:\n      role: arn:aws:iam::111122223333:role/mirror\n      externalID: ${env:AWS_EXTERNAL_ID}",
	"registries.HOST.aws.createRepositories":            "registries:\n  111122223333.dkr.ecr.eu-west-1.amazonaws.com:\n    aws:\n      createRepositories: true",
	"registries.HOST.aws.createRepositories.tags":       "registries:\n  111122223333.dkr.ecr.eu-west-1.amazonaws.com:\n    aws:\n      createRepositories: {tags: [team=platform, made-by=dray]}",
	"registries.HOST.aws.createRepositories.immutable":  "registries:\n  111122223333.dkr.ecr.eu-west-1.amazonaws.com:\n    aws:\n      createRepositories: {immutable: true}",
	"registries.HOST.aws.createRepositories.encryption": "registries:\n  111122223333.dkr.ecr.eu-west-1.amazonaws.com:\n    aws:\n      createRepositories: {encryption: KMS}",
	"registries.HOST.aws.createRepositories.lifecycle":  "registries:\n  111122223333.dkr.ecr.eu-west-1.amazonaws.com:\n    aws:\n      createRepositories:\n        lifecycle: >-\n          {\"rules\": [{\"rulePriority\": 1, \"action\": {\"type\": \"expire\"}, \"selection\":\n          {\"tagStatus\": \"untagged\", \"countType\": \"sinceImagePushed\", \"countUnit\": \"days\", \"countNumber\": 14}}]}",
	"registries.HOST.google":                            "registries:\n  europe-docker.pkg.dev: {google: {}}",
	"registries.HOST.google.credentialsFile":            "registries:\n  europe-docker.pkg.dev:\n    google: {credentialsFile: /etc/dray/google.json}",
	"registries.HOST.google.impersonate":                "registries:\n  europe-docker.pkg.dev/acme:\n    google: {impersonate: mirror@acme.iam.gserviceaccount.com}",

	"registries.HOST.quay":           "registries:\n  quay.io/acme:\n    quay: {robot: acme+mirror, tokenFile: /var/run/secrets/tokens/quay}",
	"registries.HOST.quay.robot":     "registries:\n  quay.example.com:\n    quay: {robot: acme+mirror, tokenFile: /var/run/secrets/tokens/quay}",
	"registries.HOST.quay.tokenFile": "registries:\n  quay.example.com:\n    quay: {robot: acme+mirror, tokenFile: /var/run/secrets/tokens/quay}",

	"verify":                                          "verify:\n  acme:\n    images: [\"ghcr.io/acme/**\"]\n    authorities:\n      - key: ${file:/etc/dray/cosign.pub}",
	"verify.NAME.images":                              "verify:\n  acme:\n    images: [\"ghcr.io/acme/**\", docker.io/library/alpine]\n    authorities:\n      - key: ${file:/etc/dray/cosign.pub}",
	"verify.NAME.authorities":                         "verify:\n  acme:\n    authorities:\n      - key: ${file:/etc/dray/cosign.pub}",
	"verify.NAME.authorities[].key":                   "verify:\n  acme:\n    authorities:\n      - key: ${file:/etc/dray/cosign.pub}",
	"verify.NAME.authorities[].keyless":               keylessExample("subject: https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main"),
	"verify.NAME.authorities[].keyless.subject":       keylessExample("subject: https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main"),
	"verify.NAME.authorities[].keyless.subjectRegExp": keylessExample(`subjectRegExp: https://github\.com/acme/[^/]+/\.github/workflows/release\.yml@refs/tags/.*`),
	"verify.NAME.authorities[].keyless.issuer":        keylessExample("subject: https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main"),
	"verify.NAME.authorities[].keyless.issuerRegExp":  strings.Replace(keylessExample("subject: ann@acme.example"), "issuer: https://token.actions.githubusercontent.com", `issuerRegExp: https://(accounts\.google\.com|login\.acme\.example)`, 1),
	"verify.NAME.authorities[].keyless.trustedRoot":   keylessExample("subject: https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main"),
	"verify.NAME.signed":                              "verify:\n  acme:\n    authorities:\n      - key: ${file:/etc/dray/cosign.pub}\n    signed: platforms",
	"verify.NAME.threshold":                           "verify:\n  acme:\n    authorities:\n      - key: ${file:/etc/dray/cosign.pub}\n      - key: ${file:/etc/dray/release.pub}\n    threshold: 2",
	"verify.NAME.attestations":                        "verify:\n  acme:\n    authorities:\n      - key: ${file:/etc/dray/cosign.pub}\n    attestations: [\"https://slsa.dev/provenance/v1\"]",
	"verify.NAME.mode":                                "verify:\n  acme:\n    authorities:\n      - key: ${file:/etc/dray/cosign.pub}\n    mode: warn",
	"verify.NAME.signaturesFrom":                      "verify:\n  acme:\n    authorities:\n      - key: ${file:/etc/dray/cosign.pub}\n    signaturesFrom: ghcr.io/acme/signatures",
	"mappings[].verify":                               "verify:\n  acme:\n    authorities:\n      - key: ${file:/etc/dray/cosign.pub}\nmappings:\n  - source: ghcr.io/acme/app:v1\n    target: registry.example.com/mirror/app\n    verify: acme",
	"receivers":                                       "receivers:\n  - {name: hub, type: dockerhub, secret: \"${file:/run/secrets/hub-events}\"}\n  - {name: ghcr, type: github, secret: \"${env:GHCR_EVENTS_SECRET}\"}",
	"receivers[].name":                                "receivers:\n  - name: hub\n    type: dockerhub\n    secret: ${file:/run/secrets/hub-events}",
	"receivers[].type":                                "receivers:\n  - name: corp\n    type: harbor\n    secret: ${file:/run/secrets/harbor-events}",
	"receivers[].secret":                              "receivers:\n  - name: ghcr\n    type: github\n    secret: ${env:GHCR_EVENTS_SECRET}",
	"receivers[].registry":                            "receivers:\n  - name: artifacts\n    type: artifactory\n    secret: ${file:/run/secrets/artifactory-events}\n    registry: artifactory.example.com",
	"receivers[].audience":                            "receivers:\n  - name: google\n    type: gcr\n    audience: https://dray.example.com/hook/google\n    serviceAccount: events@project.iam.gserviceaccount.com",
	"receivers[].serviceAccount":                      "receivers:\n  - name: google\n    type: gcr\n    audience: https://dray.example.com/hook/google\n    serviceAccount: events@project.iam.gserviceaccount.com",
	"notifications[].template":                        "notifications:\n  - webhook: ${env:CHAT_URL}\n    template: '{\"text\": {{json .Summary}}}'",
	"registries.HOST.tls":                             "registries:\n  registry.example.com:5000:\n    tls: {caFile: /etc/dray/ca.pem}",
	"registries.HOST.rateLimit":                       "registries:\n  docker.io:\n    rateLimit: {keep: 10%}",
	"registries.HOST.mirrors":                         "registries:\n  docker.io:\n    mirrors: [mirror.gcr.io]",
	"registries.HOST.azure":                           "registries:\n  myregistry.azurecr.io: {azure: {}}",
	"azure":                                           "azure: {credential: {kind: workload-identity}}",
	"azure.cloud":                                     "azure: {cloud: china}",
	"azure.credential":                                "azure: {credential: {kind: workload-identity}}",
	"azure.credential.kind":                           "azure: {credential: {kind: managed-identity}}",
	"azure.credential.clientSecret":                   "azure:\n  credential:\n    kind: client-secret\n    tenantID: ${env:AZURE_TENANT_ID}\n    clientID: ${env:AZURE_CLIENT_ID}\n    clientSecret: ${file:/run/secrets/azure}",
	"azure.credential.certificateFile":                "azure:\n  credential:\n    kind: client-certificate\n    tenantID: ${env:AZURE_TENANT_ID}\n    clientID: ${env:AZURE_CLIENT_ID}\n    certificateFile: /etc/dray/azure.pem",
	"azure.credential.certificatePassword":            "azure:\n  credential:\n    kind: client-certificate\n    tenantID: ${env:AZURE_TENANT_ID}\n    clientID: ${env:AZURE_CLIENT_ID}\n    certificateFile: /etc/dray/azure.pem\n    certificatePassword: ${file:/run/secrets/azure-certificate}",
	"azure.import":                                    "azure: {import: {parallel: 8, timeout: 1h}}",
	"mappings[].name":                                 "mappings:\n  - name: base-image\n    source: docker.io/library/alpine:3.22\n    target: registry.example.com/mirror/alpine",
	"mappings[].source":                               "mappings:\n  - source: ghcr.io/acme/base:1.4\n    target: registry.example.com/mirror/base",
	"mappings[].target":                               "mappings:\n  - source: ghcr.io/acme/base:1.4\n    target: registry.example.com/{{.Registry}}/{{.Repository}}",
	"mappings[].targets":                              "mappings:\n  - source: ghcr.io/acme/base:1.4\n    targets: [registry.example.com/mirror/base, second.example.com/mirror/base]",
	"mappings[].repositories":                         "mappings:\n  - source: registry.example.com/team\n    target: mirror.example.com/team\n    repositories: [builder, lint-*, tools/**, \"!lint-old\"]\n    tags: [stable]",
	"mappings[].tags":                                 "mappings:\n  - source: docker.io/library/alpine\n    target: registry.example.com/mirror/alpine\n    tags: [latest, {semver: \">= 3.20\", newest: 2}, {semver: ~3.19, newest: 1}]",
	"mappings[].engine":                               "mappings:\n  - source: docker.io/library/alpine:3.22\n    target: myregistry.azurecr.io/mirror/alpine\n    engine: acr\nregistries:\n  myregistry.azurecr.io: {azure: {}}",
	"mappings[].resolve":                              "mappings:\n  - source: private.example.com/base:1.4\n    target: myregistry.azurecr.io/mirror/base\n    engine: acr\n    resolve: server\nregistries:\n  myregistry.azurecr.io: {azure: {}}",
	"mappings[].untagged":                             "mappings:\n  - source: ghcr.io/acme/base@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n    target: registry.example.com/mirror/base\n    untagged: true",
	"mappings[].tags.exclude":                         "mappings:\n  - source: docker.io/library/alpine\n    target: registry.example.com/mirror/alpine\n    tags: {include: [\"3.*\"], exclude: [\"*_rc*\"]}",
	"mappings[].tags.suffix":                          "mappings:\n  - source: docker.io/library/golang\n    target: registry.example.com/mirror/golang\n    tags: {semver: \">= 1.25\", suffix: -alpine}",
	"mappings[].tags.sort":                            "mappings:\n  - source: docker.io/library/alpine\n    target: registry.example.com/mirror/alpine\n    tags: {include: [\"20*\"], sort: date, newest: 3}",
	"mappings[].tags.min":                             "mappings:\n  - source: docker.io/library/alpine\n    target: registry.example.com/mirror/alpine\n    tags: {include: [\"4.*\"], min: 0}",
	"mappings[].platforms.want":                       "mappings:\n  - source: docker.io/library/alpine:3.22\n    target: registry.example.com/mirror/alpine\n    platforms: {want: [linux/amd64, \"linux/arm64?\"]}",
	"mappings[].platforms.missing":                    "mappings:\n  - source: docker.io/library/alpine:3.22\n    target: registry.example.com/mirror/alpine\n    platforms: {want: [linux/amd64, linux/arm64], missing: skip}",
	"mappings[].timezone":                             "mappings:\n  - source: docker.io/library/alpine:3.22\n    target: registry.example.com/mirror/alpine\n    schedule: \"0 3 * * *\"\n    timezone: Europe/Berlin",
	"mappings[].windows":                              "mappings:\n  - source: docker.io/library/alpine:3.22\n    target: registry.example.com/mirror/alpine\n    schedule: \"@hourly\"\n    windows: [{days: [mon-fri], from: \"22:00\", to: \"06:00\"}]",
	"mappings[].windows[].days":                       "mappings:\n  - source: docker.io/library/alpine:3.22\n    target: registry.example.com/mirror/alpine\n    schedule: \"@hourly\"\n    windows: [{days: [mon-fri], from: \"22:00\", to: \"06:00\"}]",
	"mappings[].windows[].from":                       "mappings:\n  - source: docker.io/library/alpine:3.22\n    target: registry.example.com/mirror/alpine\n    schedule: \"@hourly\"\n    windows: [{days: [mon-fri], from: \"22:00\", to: \"06:00\"}]",
	"mappings[].windows[].to":                         "mappings:\n  - source: docker.io/library/alpine:3.22\n    target: registry.example.com/mirror/alpine\n    schedule: \"@hourly\"\n    windows: [{days: [mon-fri], from: \"22:00\", to: \"06:00\"}]",
	"mappings[].windowEnd":                            "mappings:\n  - source: docker.io/library/alpine:3.22\n    target: registry.example.com/mirror/alpine\n    schedule: \"@hourly\"\n    windows: [{days: [mon-fri], from: \"22:00\", to: \"06:00\"}]\n    windowEnd: cut",
	"mappings[].retag":                                "mappings:\n  - source: docker.io/library/alpine\n    target: registry.example.com/mirror/alpine\n    tags: [latest]\n    retag: \"{{.Tag}}-mirror\"",
	"mappings[].jitter":                               "mappings:\n  - source: docker.io/library/alpine:3.22\n    target: registry.example.com/mirror/alpine\n    schedule: \"@hourly\"\n    jitter: 10m",
	"mappings[].priority":                             "mappings:\n  - source: docker.io/library/alpine:3.22\n    target: registry.example.com/mirror/alpine\n    schedule: \"@hourly\"\n    priority: 10",
	"mappings[].moved":                                "mappings:\n  - source: docker.io/library/alpine:3.22\n    target: registry.example.com/mirror/alpine\n    moved: refuse",
	"mappings[].immutable":                            "mappings:\n  - source: docker.io/library/alpine\n    target: registry.example.com/mirror/alpine\n    tags: {semver: \">= 3.20\"}\n    immutable: [\"3.*.*\"]",
	"mappings[].referrers":                            "mappings:\n  - source: docker.io/library/alpine:3.22\n    target: registry.example.com/mirror/alpine\n    referrers: [application/vnd.dev.sigstore.bundle.v0.3+json]",
	"mappings[].tags.include":                         "mappings:\n  - source: docker.io/library/alpine\n    target: registry.example.com/mirror/alpine\n    tags: {include: [latest, \"3.*\", \"/v[0-9]+/\"]}",
	"mappings[].foreignLayers":                        "mappings:\n  - source: mcr.microsoft.com/windows/nanoserver:ltsc2022\n    target: registry.example.com/mirror/nanoserver\n    foreignLayers: true",
	"registries.HOST.plainHTTP":                       "registries:\n  registry.lan:5000: {plainHTTP: true}",
	"registries.HOST.listing":                         "registries:\n  registry.example.com: {listing: head}",
	"registries.HOST.bandwidth":                       "registries:\n  registry.example.com: {bandwidth: 10MiB/s}",
	"registries.HOST.concurrency":                     "registries:\n  registry.example.com: {concurrency: 32}",
}

const referenceHead = `# Configuration

<!-- Generated from the grammar in internal/config/grammar.go by go generate ./internal/config. -->

A config is one YAML file. It is named by ` + "`--config FILE`, by `$DRAY_CONFIG`, or is `dray.yaml`" + ` in the current folder. ` + "`dray check`" + ` names
every mistake in it with line and column; ` + "`dray schema`" + ` prints its JSON Schema, with which editors complete and check it:

` + "```yaml" + `
# yaml-language-server: $schema=./dray.schema.json
version: 1
mappings:
  - source: docker.io/library/alpine
    target: registry.example.com/mirror/alpine
    tags: {semver: ">= 3.20", newest: 2}
` + "```" + `

Any text can be ` + "`${env:NAME}`" + `, a variable of the environment, or ` + "`${file:PATH}`" + `, the content of a file without the line break at its end and a byte order mark before it; a
relative path is relative to the config's folder, and ` + "`${file:$CREDENTIALS_DIRECTORY/NAME}`" + ` is what systemd's ` + "`LoadCredential=`" + ` brings.
` + "`$${`" + ` stands for the characters ` + "`${`" + `. What is put in is a text, never YAML. A duration is written as ` + "`90s`, `10m`, `1h30m`" + `. Where a key
is not known, or a value not allowed, the whole file is refused: a daemon goes on with what it said when it was last good.

Keys at the top that begin with ` + "`x-`" + ` are yours, to hold what YAML's anchors repeat:

` + "```yaml" + `
version: 1
x-daily: &daily {schedule: "@daily", tags: {semver: ">= 1", newest: 3}}
mappings:
  - {<<: *daily, source: docker.io/library/alpine, target: registry.example.com/mirror/alpine}
  - {<<: *daily, source: docker.io/library/redis, target: registry.example.com/mirror/redis}
` + "```" + `

A config can be several files: those that [` + "`include`" + `](#include) names, and those of the command line. ` + "`-c MAIN.yaml -c TEAM.yaml -c conf.d`" + ` reads MAIN.yaml as
if its ` + "`include`" + ` named the others as well; a folder stands for its files ` + "`*.yaml` and `*.yml`" + `, in the order of their names, but not for those of folders in it.
` + "`-c conf.d`" + ` alone reads that folder: ` + "`conf.d/dray.yaml`" + ` is its main file, with all settings that are of the config as a whole, and need not be there. What
` + "`include`" + ` says of mistakes, unique names, and of how ` + "`dray run`" + ` follows files holds for these too. A relative path in a file is relative to the folder of that file.

` + "`dray check --no-secrets`" + ` checks a file where its variables and other files are not there, as in the pipeline of a pull request.

An example shows the key with what has to stand around it; ` + "`HOST`" + ` in a heading is a registry such as ` + "`ghcr.io`" + `, and ` + "`[]`" + ` an entry of a list.
`

func (m *manual) section(path string, t reflect.Type) {
	for _, f := range fieldsInOrder(t) {
		key := f.Tag.Get("yaml")
		if key == "" {
			continue
		}
		at := key
		if path != "" {
			at = path + "." + key
		}
		m.key(at, t, f)
		inner, suffix := sectionType(f.Type)
		if inner != nil && f.Type != reflect.TypeFor[defaultsSection]() {
			m.section(at+suffix, inner)
		}
	}
}

// key writes what there is to say about a key.
func (m *manual) key(at string, owner reflect.Type, f reflect.StructField) {
	level := "###"
	if !strings.Contains(at, ".") {
		level = "##"
	}
	name := owner.Name()
	if len(f.Index) > 1 {
		name = owner.Field(f.Index[0]).Type.Name()
	}
	fmt.Fprintf(&m.text, "\n%s %s\n\n%s\n", level, "`"+at+"`", m.docs[name+"."+f.Name])
	if facts := m.facts(f); facts != "" {
		fmt.Fprintf(&m.text, "\n%s\n", facts)
	}
	example, ok := shown[at]
	if !ok {
		example = m.example(at, owner, f)
	}
	m.examples[at] = example
	fmt.Fprintf(&m.text, "\n```yaml\n%s\n```\n", example)
}

// facts are what a key takes.
func (m *manual) facts(f reflect.StructField) string {
	var facts []string
	add := func(format string, args ...any) { facts = append(facts, fmt.Sprintf(format, args...)) }
	if _, ok := f.Tag.Lookup("required"); ok {
		add("required")
	}
	switch t := f.Type; {
	case f.Tag.Get("enum") != "" && !isScalar(t):
		add("a list of %s", quoted(split(f.Tag.Get("enum")), "and"))
	case f.Tag.Get("enum") != "":
		add("one of %s", quoted(split(f.Tag.Get("enum")), "or"))
	case t == reflect.TypeFor[number]() && f.Tag.Get("min") == f.Tag.Get("max"):
		add("always `%s`", f.Tag.Get("min"))
	case t == reflect.TypeFor[number]() && f.Tag.Get("max") != "":
		add("a number from %s to %s", f.Tag.Get("min"), f.Tag.Get("max"))
	case t == reflect.TypeFor[number]():
		add("a number from %s", f.Tag.Get("min"))
	case t == reflect.TypeFor[toggle]():
		add("`true` or `false`")
	case t == reflect.TypeFor[list[text]]():
		add("a list")
	}
	if d, ok := f.Tag.Lookup("default"); ok {
		add("default `%s`", d)
	}
	if other := f.Tag.Get("requires"); other != "" {
		add("only with `%s`", other)
	}
	if _, ok := f.Tag.Lookup("host"); ok {
		add("of a whole registry, not of a path at one")
	}
	if len(facts) == 0 {
		return ""
	}
	text := strings.Join(facts, "; ") + "."
	return strings.ToUpper(text[:1]) + text[1:]
}

func quoted(words []string, last string) string {
	var all []string
	for _, w := range words {
		all = append(all, "`"+w+"`")
	}
	if len(all) < 2 {
		return strings.Join(all, "")
	}
	return strings.Join(all[:len(all)-1], ", ") + " " + last + " " + all[len(all)-1]
}

// example shows a key with a value that it may have, and what it wants beside it.
func (m *manual) example(at string, owner reflect.Type, f reflect.StructField) string {
	parts := strings.Split(at, ".")
	fields := append(m.beside(owner, f), f)
	slices.SortStableFunc(fields, func(a, b reflect.StructField) int { return cmp.Compare(a.Index[0], b.Index[0]) })
	indent := ""
	var b strings.Builder
	for _, p := range parts[:len(parts)-1] {
		next := "  "
		if p == "HOST" {
			p = "registry.example.com"
		}
		name, isList := strings.CutSuffix(p, "[]")
		fmt.Fprintf(&b, "%s%s:\n", indent, name)
		if isList {
			next = "    "
		}
		indent += next
		if isList && name == "mappings" {
			switch parts[1] {
			case "rename":
				fmt.Fprintf(&b, "  - name: cluster\n    images: [docker.io/grafana/grafana:12.1.0]\n    target: registry.example.com/mirror\n")
				continue
			case "images", "imagesFrom":
				fmt.Fprintf(&b, "  - name: cluster\n    target: registry.example.com/mirror\n")
				continue
			}
			fmt.Fprintf(&b, "  - source: docker.io/library/alpine\n    target: registry.example.com/mirror/alpine\n")
			if len(parts) == 2 {
				fmt.Fprintf(&b, "    tags: [latest]\n")
			}
		} else if isList {
			indent = indent[:len(indent)-2]
		}
	}
	for i, field := range fields {
		lead := indent
		if strings.HasSuffix(parts[max(0, len(parts)-2)], "[]") && parts[0] != "mappings[]" {
			lead += "- "
			if i > 0 {
				lead = indent + "  "
			}
		}
		fmt.Fprintf(&b, "%s%s: %s\n", lead, field.Tag.Get("yaml"), sample(field))
	}
	return strings.TrimRight(b.String(), "\n")
}

// beside are the keys of a section that have to stand beside one.
func (m *manual) beside(owner reflect.Type, f reflect.StructField) []reflect.StructField {
	if owner == reflect.TypeFor[mappingSection]() || owner == reflect.TypeFor[document]() {
		return nil
	}
	wanted := map[string]bool{f.Tag.Get("requires"): true}
	var all []reflect.StructField
	for range 3 { // what is wanted may want more
		for _, other := range fieldsInOrder(owner) {
			key := other.Tag.Get("yaml")
			_, required := other.Tag.Lookup("required")
			if key == "" || key == f.Tag.Get("yaml") || !required && !wanted[key] || slices.ContainsFunc(all, func(o reflect.StructField) bool { return o.Name == other.Name }) {
				continue
			}
			all = append(all, other)
			wanted[other.Tag.Get("requires")] = true
		}
	}
	return all
}

// sample is a value that a key may have, as YAML.
func sample(f reflect.StructField) string {
	examples := split(f.Tag.Get("example"))
	if !isScalar(f.Type) {
		raw, err := yaml.Marshal(&yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle, Content: scalarsOf(examples)})
		if err != nil {
			panic(err)
		}
		return strings.TrimSpace(string(raw))
	}
	value := f.Tag.Get("default")
	if f.Type == reflect.TypeFor[toggle]() {
		value = map[string]string{"false": "true", "true": "false"}[value]
	}
	if enum := split(f.Tag.Get("enum")); enum != nil {
		value = enum[len(enum)-1]
	}
	if examples != nil {
		value = examples[len(examples)-1]
	}
	raw, err := yaml.Marshal(scalarsOf([]string{value})[0])
	if err != nil {
		panic(err)
	}
	return strings.TrimSpace(string(raw))
}

func scalarsOf(values []string) []*yaml.Node {
	var nodes []*yaml.Node
	for _, v := range values {
		n := &yaml.Node{}
		if err := yaml.Unmarshal([]byte(v), n); err != nil || len(n.Content) != 1 || n.Content[0].Kind != yaml.ScalarNode {
			n = &yaml.Node{Content: []*yaml.Node{{Kind: yaml.ScalarNode, Tag: "!!str", Value: v}}}
		}
		nodes = append(nodes, n.Content[0])
	}
	return nodes
}

// accepted loads a config, or a part of one with what it lacks; the schema has to accept it as well.
func accepted(t *testing.T, schema *jsonschema.Schema, what, part string) {
	t.Helper()
	whole := part
	if !strings.HasPrefix(whole, "version:") && !strings.Contains(whole, "\nversion:") {
		whole = "version: 1\n" + whole
	}
	if !strings.HasPrefix(whole, "mappings:") && !strings.Contains(whole, "\nmappings:") {
		whole += "\nmappings: [{source: 'docker.io/library/alpine:3.22', target: registry.example.com/alpine}]"
	}
	const value = "https://0123456789abcdef.example" // a text that does wherever there is one from elsewhere
	options := Options{
		Root:   keyless.ParseRoot,
		Getenv: func(string) (string, bool) { return value, true }, ReadFile: func(name string) ([]byte, error) {
			switch filepath.Base(name) {
			case "cosign.pub":
				return os.ReadFile("../signature/testdata/fallback/cosign.pub")
			case "images.txt", "compose.yaml", "app.yaml":
				return []byte("- quay.io/acme/app:1\n"), nil
			case "release.pub":
				return os.ReadFile("../signature/testdata/fallback/other.pub")
			case "trusted_root.json":
				return os.ReadFile("../signature/testdata/fallback/keyless/trusted_root.json")
			}
			return []byte(value), nil
		},
		List: func(pattern string) ([]string, error) {
			if filepath.Base(filepath.Dir(pattern)) == "rendered" {
				return []string{"app.yaml"}, nil
			}
			return nil, nil
		},
	}
	if _, err := Parse(root+"/dray.yaml", []byte(whole), options); err != nil {
		t.Errorf("%s: %v\n%s", what, err, part)
	}
	if err := schemaRefuses(t, schema, []byte(whole)); err != nil {
		t.Errorf("%s: the schema refuses it: %v\n%s", what, err, part)
	}
}

// TestReferenceIsCurrent holds docs/configuration.md to the grammar, and each of its examples to be accepted.
func TestReferenceIsCurrent(t *testing.T) {
	m := &manual{docs: comments(t), examples: map[string]string{}}
	m.text.WriteString(referenceHead)
	m.section("", reflect.TypeFor[document]())
	want := []byte(m.text.String())
	if *update {
		if err := os.WriteFile(referenceFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(referenceFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("docs/configuration.md is not that of the grammar; run go generate ./internal/config (-want +got):\n%s", gocmp.Diff(string(want), string(got)))
	}
	schema := schemaOf(t)
	for key, example := range m.examples {
		accepted(t, schema, "the example of "+key, example)
		last := key[strings.LastIndexByte(key, '.')+1:]
		if !strings.Contains(example, strings.TrimSuffix(last, "[]")+":") {
			t.Errorf("the example of %s does not show it:\n%s", key, example)
		}
	}
	for key := range shown {
		if _, ok := m.examples[key]; !ok {
			t.Errorf("there is an example of %s, which is no key", key)
		}
	}
}
