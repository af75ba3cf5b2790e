package receiver

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/draysync/dray/internal/image"
)

// event is an entry of a body.
type event struct {
	// pushed are the possible references of the pushed tag, since it is not always known how the registry is addressed. Of a signature that was pushed
	// without a tag it is its image, by digest. Empty if the event is a push of neither.
	pushed []image.Reference
	// why says why nothing was pushed, or why the event is invalid: other events of the same body may be valid.
	why       string
	malformed bool
}

// reader returns the events of a body. The registry is the one of the config, empty if the events name it.
type reader func(body []byte, header http.Header, registry string) ([]event, error)

// maxEvents limits the events of a body, far above what any sender puts into one.
const maxEvents = 10_000

func ignored(format string, args ...any) []event {
	return []event{{why: fmt.Sprintf(format, args...)}}
}

// decode reads a JSON object into a struct.
func decode[T any](body []byte) (v T, err error) {
	err = json.Unmarshal(body, &v)
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok { // its own text is for programmers
		return v, fmt.Errorf("it is not an event of this kind: %s is a JSON %s", cmp.Or(wrong.Field, "it"), wrong.Value)
	}
	if err != nil {
		return v, fmt.Errorf("it is not JSON: %w", err)
	}
	return v, nil
}

// refers returns the event of a signature, or of something else that refers to an image, pushed without a tag.
func refers(registry, host, subject, path string) event {
	d, err := image.ParseDigest(subject)
	if err != nil {
		return event{why: "it names no tag"}
	}
	e := push(registry, host, "x", path)
	for i := range e.pushed {
		e.pushed[i] = e.pushed[i].Repository.Digest(d)
	}
	return e
}

// subjectOf returns the digest of the image that a manifest refers to (OCI image spec, "Image Manifest Property Descriptions"); empty for none.
func subjectOf(manifest string) string {
	var doc struct {
		Subject struct {
			Digest string `json:"digest"`
		} `json:"subject"`
	}
	if json.Unmarshal([]byte(manifest), &doc) != nil {
		return ""
	}
	return doc.Subject.Digest
}

// push returns the event of a tag. The registry of the config takes precedence over the host of the event.
func push(registry, host, tag string, paths ...string) event {
	if tag == "" || strings.Contains(tag, ":") { // some senders put the digest there
		return event{why: "it names no tag"}
	}
	if !image.ValidTag(tag) {
		return malformed("it names an invalid tag")
	}
	if registry == "" {
		registry = host
	}
	registry, err := image.CanonicalHost(strings.ToLower(registry))
	if err != nil {
		return malformed("it names an invalid registry")
	}
	var e event
	for _, path := range paths {
		if registry == image.DockerHub && !strings.Contains(path, "/") {
			path = "library/" + path
		}
		if !image.ValidPath(path) {
			return malformed("it names an invalid repository")
		}
		e.pushed = append(e.pushed, image.Repository{Registry: registry, Path: path}.Tag(tag))
	}
	return e
}

func malformed(why string) event { return event{why: why, malformed: true} }

// one returns the events of a body with one event.
func one(e event) ([]event, error) { return []event{e}, nil }

// each returns the events of a list.
func each[T any](all []T, read func(T) event) ([]event, error) {
	if len(all) > maxEvents {
		return nil, fmt.Errorf("it has more than %d events", maxEvents)
	}
	events := make([]event, 0, len(all))
	for _, v := range all {
		events = append(events, read(v))
	}
	return events, nil
}

// named returns the event of a complete reference: host/path:tag.
func named(registry, name string) event {
	name, digest, _ := strings.Cut(name, "@")
	host, rest, ok := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(name, "https://"), "http://"), "/")
	if !ok {
		return malformed("it does not name an image in full, as host/repository:tag")
	}
	path, tag, _ := strings.Cut(rest, ":")
	if tag == "" && digest != "" {
		return refers(registry, host, digest, path)
	}
	return push(registry, host, tag, path)
}
