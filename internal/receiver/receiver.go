package receiver

import (
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/draysync/dray/internal/image"
)

// Receiver is an entry of the config. Its secrets are never printed by this package.
type Receiver struct {
	// Name is a part of the path, and unique.
	Name string
	// Type is the type of the sender, one of [Types].
	Type string
	// Secret is the sender's signing key, or a token that it sends. Only Google's type has none.
	Secret string
	// Registry is the host of the mappings' sources. It replaces the host in an event, which some events lack.
	Registry string
	// Audience and ServiceAccount are the required audience and account of Google's token.
	Audience, ServiceAccount string
}

// kind has the properties of a type of sender.
type kind struct {
	name string
	// proof checks that a request proves knowledge of the secret. The body is nil if the proof does not need it.
	proof proof
	// signed is set if the proof needs the body.
	signed bool
	// path is set if the sender cannot authenticate itself, so that the path must hold the proof.
	path bool
	// hostless is set if the events do not name the registry.
	hostless bool
	read     reader
}

// cloudEvents is the type of CloudEvents.
const cloudEvents = "cloudevents"

var kinds = []kind{
	{name: "acr", proof: authorization, read: readACR},
	{name: "artifactory", proof: jfrog, signed: true, hostless: true, read: readArtifactory},
	{name: cloudEvents, proof: authorization, read: readCloudEvents},
	{name: "distribution", proof: authorization, read: readDistribution},
	{name: "dockerhub", path: true, read: readDockerHub},
	{name: "ecr", proof: authorization, read: readECR},
	{name: "gcr", proof: nil, read: readGoogle},
	{name: "generic", proof: generic, signed: true, read: readGeneric},
	{name: "github", proof: github, signed: true, read: readGitHub},
	{name: "harbor", proof: authorization, read: readHarbor},
	{name: "nexus", proof: nexus, signed: true, hostless: true, read: readNexus},
	{name: "quay", path: true, read: readQuay},
	{name: "zot", proof: authorization, hostless: true, read: readCloudEvents},
}

const google = "gcr"

// Types are the names of the types, sorted.
func Types() []string {
	names := make([]string, 0, len(kinds))
	for _, k := range kinds {
		names = append(names, k.name)
	}
	return names
}

func kindOf(name string) (kind, bool) {
	i := slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })
	if i < 0 {
		return kind{}, false
	}
	return kinds[i], true
}

// Mistake is a mistake in one of the receivers. It holds no secrets and can be shown to anyone.
type Mistake struct {
	// Index is the receiver's index, from 0.
	Index int
	// Field is the key in the config.
	Field string
	Err   error
}

// Error names the field by its path in the config.
func (m *Mistake) Error() string { return fmt.Sprintf("receivers[%d].%s: %v", m.Index, m.Field, m.Err) }

// Unwrap returns the mistake without its position.
func (m *Mistake) Unwrap() error { return m.Err }

const minSecret = 16

var nameText = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$`)

// Check returns the mistakes of all receivers.
func Check(receivers []Receiver) []*Mistake {
	var all []*Mistake
	seen := map[string]bool{}
	for i, r := range receivers {
		wrong := func(field, format string, args ...any) {
			all = append(all, &Mistake{Index: i, Field: field, Err: fmt.Errorf(format, args...)})
		}
		switch {
		case !nameText.MatchString(r.Name):
			wrong("name", "%q is not a valid name: write up to 63 of a-z, 0-9 and -, since it is part of a path", r.Name)
		case seen[r.Name]:
			wrong("name", "there are two receivers %q: give each a name of its own", r.Name)
		}
		seen[r.Name] = true
		k, ok := kindOf(r.Type)
		if !ok {
			wrong("type", "%q is not one of %v", r.Type, Types())
			continue
		}
		for _, m := range k.mistakes(r) {
			wrong(m.Field, "%w", m.Err)
		}
	}
	return all
}

// mistakes returns the required fields that a receiver of this kind lacks, and the fields that it cannot use.
func (k kind) mistakes(r Receiver) (all []*Mistake) {
	wrong := func(field, text string) { all = append(all, &Mistake{Field: field, Err: errors.New(text)}) }
	isGoogle := k.name == google
	switch {
	case isGoogle && r.Secret != "":
		wrong("secret", "is not used: Google authenticates by a token")
	case !isGoogle && r.Secret == "":
		wrong("secret", "is missing: without it, anyone could send events")
	case !isGoogle && len(r.Secret) < minSecret:
		wrong("secret", fmt.Sprintf("is too short to be safe: write at least %d characters", minSecret))
	}
	switch {
	case k.hostless && r.Registry == "":
		wrong("registry", "is missing: the events of "+k.name+" do not name their registry")
	case r.Registry != "":
		if _, err := image.CanonicalHost(r.Registry); err != nil {
			wrong("registry", err.Error()) // it repeats no password
		}
	}
	for _, f := range []struct{ field, value, why string }{
		{"audience", r.Audience, "without it, a Google token for any other audience would be accepted"},
		{"serviceAccount", r.ServiceAccount, "without it, every Google customer could send events"},
	} {
		switch {
		case isGoogle && f.value == "":
			wrong(f.field, "is missing: "+f.why)
		case !isGoogle && f.value != "":
			wrong(f.field, "is only for the type gcr")
		}
	}
	return all
}
