package receiver

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/draysync/dray/internal/image"
)

// event is what an entry of a body says.
type event struct {
	// pushed are the references that the pushed tag may have: it is not always known how the registry is addressed. Empty for what is
	// no push of a tag.
	pushed []image.Reference
	// why is why nothing was pushed.
	why string
}

// reader returns the events of a body. The registry is the one of the config, empty if the events name it.
type reader func(body []byte, header http.Header, registry string) ([]event, error)

// maxEvents is how many events a body may have, far more than any sender puts into one.
const maxEvents = 10_000

func ignored(format string, args ...any) []event {
	return []event{{why: fmt.Sprintf(format, args...)}}
}

// decode reads a JSON object into a struct.
func decode[T any](body []byte) (v T, err error) {
	if err := json.Unmarshal(body, &v); err != nil {
		return v, fmt.Errorf("the body is no JSON of this kind: %w", err)
	}
	return v, nil
}

// push returns the event of a tag. The registry of the config goes before the host of the event.
func push(registry, host, tag string, paths ...string) (event, error) {
	if tag == "" || strings.Contains(tag, ":") { // some senders put the digest there
		return event{why: "it names no tag"}, nil
	}
	if !image.ValidTag(tag) {
		return event{}, errors.New("it names a tag that is none")
	}
	if registry == "" {
		registry = host
	}
	registry, err := image.CanonicalHost(strings.ToLower(registry))
	if err != nil {
		return event{}, errors.New("it names a registry that is none")
	}
	var e event
	for _, path := range paths {
		if registry == image.DockerHub && !strings.Contains(path, "/") {
			path = "library/" + path
		}
		if !image.ValidPath(path) {
			return event{}, errors.New("it names a repository that is none")
		}
		e.pushed = append(e.pushed, image.Repository{Registry: registry, Path: path}.Tag(tag))
	}
	return e, nil
}

// one returns the events of a body with one event.
func one(e event, err error) ([]event, error) {
	if err != nil {
		return nil, err
	}
	return []event{e}, nil
}

// named returns the event of a reference as it is written in full: host/path:tag.
func named(registry, name string) (event, error) {
	name, _, _ = strings.Cut(name, "@")
	host, rest, ok := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(name, "https://"), "http://"), "/")
	if !ok {
		return event{}, errors.New("it names no image in full, as host/repository:tag")
	}
	path, tag, _ := strings.Cut(rest, ":")
	return push(registry, host, tag, path)
}
