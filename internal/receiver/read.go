package receiver

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"
)

// Docker Hub: docs.docker.com, "Webhooks". Its callback_url may name any host, so dray never calls it.
func readDockerHub(body []byte, _ http.Header, registry string) ([]event, error) {
	v, err := decode[struct {
		PushData struct {
			Tag string `json:"tag"`
		} `json:"push_data"`
		Repository struct {
			RepoName string `json:"repo_name"`
		} `json:"repository"`
	}](body)
	if err != nil {
		return nil, err
	}
	return one(push(registry, "docker.io", v.PushData.Tag, v.Repository.RepoName))
}

// GitHub: docs.github.com, the events registry_package and package. A version without a tag names none. GitHub sends JSON or, by default, a
// form that contains it.
func readGitHub(body []byte, header http.Header, registry string) ([]event, error) {
	if kind, _, _ := mime.ParseMediaType(header.Get("Content-Type")); kind == "application/x-www-form-urlencoded" {
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return nil, errors.New("the form cannot be read")
		}
		body = []byte(form.Get("payload"))
	}
	type pkg struct {
		Namespace      string `json:"namespace"`
		Name           string `json:"name"`
		PackageType    string `json:"package_type"`
		PackageVersion struct {
			Container struct {
				Tag struct {
					Name string `json:"name"`
				} `json:"tag"`
			} `json:"container_metadata"`
		} `json:"package_version"`
	}
	v, err := decode[struct {
		Action          string `json:"action"`
		Package         *pkg   `json:"package"`
		RegistryPackage *pkg   `json:"registry_package"`
	}](body)
	if err != nil {
		return nil, err
	}
	if v.RegistryPackage == nil {
		v.RegistryPackage = v.Package
	}
	p := v.RegistryPackage
	switch kind := header.Get("X-Github-Event"); {
	case p == nil:
		return ignored("it is GitHub's event %q, not one of a package", kind), nil
	case v.Action != "published" && v.Action != "updated":
		return ignored("a package was %q, not published", v.Action), nil
	case !strings.EqualFold(p.PackageType, "container") && !strings.EqualFold(p.PackageType, "docker"):
		return ignored("it is a package of the type %q, not a container", p.PackageType), nil
	}
	return one(push(registry, "ghcr.io", p.PackageVersion.Container.Tag.Name, strings.ToLower(p.Namespace+"/"+p.Name)))
}

// Quay: docs.quay.io, "Repository notifications". updated_tags is a list, in old versions a mapping of tag to ID.
func readQuay(body []byte, _ http.Header, registry string) ([]event, error) {
	v, err := decode[struct {
		DockerURL   string          `json:"docker_url"`
		UpdatedTags json.RawMessage `json:"updated_tags"`
	}](body)
	if err != nil {
		return nil, err
	}
	var tags []string
	if json.Unmarshal(v.UpdatedTags, &tags) != nil {
		byTag := map[string]any{}
		if json.Unmarshal(v.UpdatedTags, &byTag) != nil {
			return ignored("it names no tag that was pushed"), nil // a notification of another kind
		}
		for tag := range byTag {
			tags = append(tags, tag)
		}
	}
	return each(tags, func(tag string) event { return named(registry, v.DockerURL+":"+tag) })
}

// harborData is the data of Harbor's events, both in its own format and in CloudEvents.
type harborData struct {
	Resources []struct {
		Tag         string `json:"tag"`
		ResourceURL string `json:"resource_url"`
	} `json:"resources"`
}

func (d harborData) events(registry string) ([]event, error) {
	type resource = struct {
		Tag         string `json:"tag"`
		ResourceURL string `json:"resource_url"`
	}
	return each(d.Resources, func(r resource) event { return named(registry, r.ResourceURL) })
}

// Harbor: goharbor.io, "Configure Webhook Notifications"; its payload format may be its own or CloudEvents.
func readHarbor(body []byte, header http.Header, registry string) ([]event, error) {
	v, err := decode[struct {
		SpecVersion string     `json:"specversion"`
		Type        string     `json:"type"`
		EventData   harborData `json:"event_data"`
	}](body)
	switch {
	case err != nil:
		return nil, err
	case v.SpecVersion != "" || header.Get("Ce-Type") != "":
		return readCloudEvents(body, header, registry)
	case v.Type != "PUSH_ARTIFACT":
		return ignored("it is Harbor's event %q, not a push", v.Type), nil
	}
	return v.EventData.events(registry)
}

// Azure: learn.microsoft.com, "Azure Container Registry webhook reference".
func readACR(body []byte, _ http.Header, registry string) ([]event, error) {
	v, err := decode[struct {
		Action  string             `json:"action"`
		Target  distributionTarget `json:"target"`
		Request struct {
			Host string `json:"host"`
		} `json:"request"`
	}](body)
	switch {
	case err != nil:
		return nil, err
	case v.Action != "push":
		return ignored("it is the action %q, not a push", v.Action), nil
	}
	return one(push(registry, v.Request.Host, v.Target.Tag, v.Target.Repository))
}

// Google: cloud.google.com, "Configure Pub/Sub notifications". The message is in a push of Pub/Sub.
func readGoogle(body []byte, _ http.Header, registry string) ([]event, error) {
	v, err := decode[struct {
		Message struct {
			Data string `json:"data"`
		} `json:"message"`
	}](body)
	if err != nil {
		return nil, err
	}
	data, err := base64.StdEncoding.DecodeString(v.Message.Data)
	if err != nil {
		return nil, errors.New("the message's data is not base64")
	}
	m, err := decode[struct {
		Action string `json:"action"`
		Tag    string `json:"tag"`
	}](data)
	switch {
	case err != nil:
		return nil, err
	case m.Action != "INSERT":
		return ignored("it is the action %q, not a push", m.Action), nil
	case m.Tag == "":
		return ignored("it names no tag"), nil
	}
	return one(named(registry, m.Tag))
}

// Amazon ECR: docs.aws.amazon.com, "Amazon ECR events and EventBridge".
func readECR(body []byte, _ http.Header, registry string) ([]event, error) {
	v, err := decode[struct {
		DetailType string `json:"detail-type"`
		Account    string `json:"account"`
		Region     string `json:"region"`
		Detail     struct {
			Action     string `json:"action-type"`
			Result     string `json:"result"`
			Repository string `json:"repository-name"`
			Tag        string `json:"image-tag"`
		} `json:"detail"`
	}](body)
	switch {
	case err != nil:
		return nil, err
	case v.DetailType != "ECR Image Action":
		return ignored("it is the event %q, not one of an image", v.DetailType), nil
	case v.Detail.Action != "PUSH" || v.Detail.Result != "SUCCESS":
		return ignored("it is the action %q with the result %q, not a push", v.Detail.Action, v.Detail.Result), nil
	}
	host := v.Account + ".dkr.ecr." + v.Region + ".amazonaws.com"
	if strings.HasPrefix(v.Region, "cn-") {
		host += ".cn"
	}
	return one(push(registry, host, v.Detail.Tag, v.Detail.Repository))
}

type distributionTarget struct {
	Repository string `json:"repository"`
	Tag        string `json:"tag"`
}

// distribution and registries built on it: distribution.github.io, "Work with notifications". Blobs, and manifests of an index, have no tag.
func readDistribution(body []byte, _ http.Header, registry string) ([]event, error) {
	type entry struct {
		Action  string             `json:"action"`
		Target  distributionTarget `json:"target"`
		Request struct {
			Host string `json:"host"`
		} `json:"request"`
	}
	v, err := decode[struct {
		Events []entry `json:"events"`
	}](body)
	if err != nil {
		return nil, err
	}
	return each(v.Events, func(e entry) event {
		if e.Action != "push" {
			return event{why: fmt.Sprintf("it is the action %q, not a push", e.Action)}
		}
		return push(registry, e.Request.Host, e.Target.Tag, e.Target.Repository)
	})
}

// Artifactory: jfrog.com, "Webhooks", the domain docker. Its repository is a part of the path or of the host.
func readArtifactory(body []byte, _ http.Header, registry string) ([]event, error) {
	v, err := decode[struct {
		Domain string `json:"domain"`
		Type   string `json:"event_type"`
		Data   struct {
			Repository string `json:"repo_key"`
			Image      string `json:"image_name"`
			Tag        string `json:"tag"`
		} `json:"data"`
	}](body)
	switch {
	case err != nil:
		return nil, err
	case v.Domain != "docker" || v.Type != "pushed":
		return ignored("it is the event %q of the domain %q, not a push of an image", v.Type, v.Domain), nil
	}
	return one(push(registry, "", v.Data.Tag, v.Data.Repository+"/"+v.Data.Image, v.Data.Image))
}

// Nexus: help.sonatype.com, "Webhooks", a repository's components. Its repository is a part of the path, or has a port or host of its own.
func readNexus(body []byte, _ http.Header, registry string) ([]event, error) {
	v, err := decode[struct {
		Action     string `json:"action"`
		Repository string `json:"repositoryName"`
		Component  struct {
			Format  string `json:"format"`
			Name    string `json:"name"`
			Version string `json:"version"`
		} `json:"component"`
	}](body)
	switch {
	case err != nil:
		return nil, err
	case v.Component.Format != "docker" || v.Action != "CREATED" && v.Action != "UPDATED":
		return ignored("it is the action %q on a component of the format %q, not a push of an image", v.Action, v.Component.Format), nil
	}
	return one(push(registry, "", v.Component.Version, v.Component.Name, v.Repository+"/"+v.Component.Name))
}

// readGeneric reads events of scripts and CI jobs.
func readGeneric(body []byte, _ http.Header, registry string) ([]event, error) {
	v, err := decode[struct {
		Image  string   `json:"image"`
		Images []string `json:"images"`
	}](body)
	if err != nil {
		return nil, err
	}
	if v.Image != "" {
		v.Images = append(v.Images, v.Image)
	}
	if len(v.Images) == 0 {
		return nil, errors.New(`it names no image: send {"image": "host/repository:tag"}`)
	}
	return each(v.Images, func(name string) event { return named(registry, name) })
}

// cloudEvent is a CloudEvent of any supported sender.
type cloudEvent struct {
	Type string          `json:"type"`
	Data json.RawMessage `json:"data"`
}

// readCloudEvents reads CloudEvents of zot and Harbor, CDEvents, and those with an image in the form of the generic receiver. It accepts the
// structured, batched and binary modes of CloudEvents' HTTP binding.
func readCloudEvents(body []byte, header http.Header, registry string) ([]event, error) {
	var all []cloudEvent
	switch kind := header.Get("Ce-Type"); {
	case kind != "":
		all = []cloudEvent{{Type: kind, Data: body}}
	case strings.HasPrefix(strings.TrimLeft(string(body), " \t\r\n"), "["):
		var err error
		if all, err = decode[[]cloudEvent](body); err != nil {
			return nil, err
		}
	default:
		v, err := decode[cloudEvent](body)
		if err != nil {
			return nil, err
		}
		all = []cloudEvent{v}
	}
	if len(all) > maxEvents {
		return nil, fmt.Errorf("it has more than %d events", maxEvents)
	}
	var events []event
	for _, e := range all {
		some, err := e.read(registry)
		if err != nil {
			some = []event{malformed(err.Error())}
		}
		events = append(events, some...)
	}
	return events, nil
}

func (e cloudEvent) read(registry string) ([]event, error) {
	switch {
	case strings.HasSuffix(e.Type, ".image.updated"): // zot's prefix is configurable
		v, err := decode[struct {
			Name      string `json:"name"`
			Reference string `json:"reference"`
			Manifest  string `json:"manifest"`
		}](e.Data)
		if err != nil {
			return nil, err
		}
		if subject := subjectOf(v.Manifest); subject != "" && strings.Contains(v.Reference, ":") {
			return one(refers(registry, "", subject, v.Name))
		}
		return one(push(registry, "", v.Reference, v.Name))
	case e.Type == "harbor.artifact.pushed":
		v, err := decode[harborData](e.Data)
		if err != nil {
			return nil, err
		}
		return v.events(registry)
	case strings.HasPrefix(e.Type, "dev.cdevents.artifact.published."), strings.HasPrefix(e.Type, "dev.cdevents.artifact.packaged."):
		v, err := decode[struct {
			Subject struct {
				ID string `json:"id"`
			} `json:"subject"`
		}](e.Data)
		if err != nil {
			return nil, err
		}
		return one(purl(registry, v.Subject.ID))
	}
	if events, err := readGeneric(e.Data, nil, registry); err == nil {
		return events, nil
	}
	return ignored("it is the event %q, which names no image", e.Type), nil
}

// purl reads a package URL of the type oci: its repository_url has the whole name.
func purl(registry, id string) event {
	u, err := url.Parse(id)
	if err != nil || u.Scheme != "pkg" || !strings.HasPrefix(u.Opaque, "oci/") {
		return malformed("its subject is no package URL of the type oci")
	}
	q := u.Query()
	return named(registry, q.Get("repository_url")+":"+q.Get("tag"))
}
