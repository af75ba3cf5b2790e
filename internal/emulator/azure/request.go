package azure

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
)

// request is the body of importImage.
type request struct {
	Source *struct {
		ResourceID  string `json:"resourceId"`
		RegistryURI string `json:"registryUri"`
		SourceImage string `json:"sourceImage"`
		Credentials *struct {
			Username string `json:"username"`
			Password string `json:"password"`
		} `json:"credentials"`
	} `json:"source"`
	TargetTags []string `json:"targetTags"`
	Untagged   []string `json:"untaggedTargetRepositories"`
	Mode       string   `json:"mode"`
}

var (
	sourceImage = regexp.MustCompile(`^([a-z0-9]+(?:[._/-]+[a-z0-9]+)*)(?::([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})|@(sha256:[0-9a-f]{64}))?$`)
	targetTag   = regexp.MustCompile(`^([a-z0-9]+(?:[._/-]+[a-z0-9]+)*)(?::([A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?$`)
)

// name is a tag in a repository.
type name struct{ repository, tag string }

func (n name) String() string { return n.repository + ":" + n.tag }

// order is what an import is to do, as far as its request tells.
type order struct {
	repository string
	tag        string // of the source; "" where it is by digest
	digest     string // of the source, as the request has it
	tags       []name
	untagged   []string
	force      bool
	resourceID string
	host       string // of the source, where there is no resource ID
	user       string
	password   string
}

// readOrder reads the body and validates it as the service does.
func readOrder(r *http.Request, target *Registry) (raw []byte, o order, failure *Failure) {
	raw, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, 1<<20))
	if err != nil {
		return nil, o, &Failure{Code: "InvalidRequestContent", Message: "The request content could not be read: " + err.Error()}
	}
	var q request
	if err := json.Unmarshal(raw, &q); err != nil || len(bytes.TrimSpace(raw)) == 0 {
		return raw, o, &Failure{Code: "InvalidRequestContent", Message: "The request content was invalid and could not be deserialized."}
	}
	if q.Source == nil || q.Source.SourceImage == "" {
		return raw, o, &Failure{Code: "InvalidRequest", Message: "Missing value for property parameters.Source.SourceImage for resource name " + target.Name() + "."}
	}
	found := sourceImage.FindStringSubmatch(q.Source.SourceImage)
	if found == nil {
		return raw, o, invalidSource(q.Source.SourceImage, target.Name())
	}
	o.repository, o.tag, o.digest = found[1], found[2], found[3]
	if o.tag == "" && o.digest == "" {
		o.tag = "latest"
	}
	if failure := o.readSource(q, target); failure != nil {
		return raw, o, failure
	}
	return raw, o, o.readTarget(q, target)
}

// readSource takes over where the image comes from.
func (o *order) readSource(q request, target *Registry) *Failure {
	o.resourceID, o.host = q.Source.ResourceID, strings.ToLower(q.Source.RegistryURI)
	invalid := func(property, value string) *Failure {
		return &Failure{Code: "InvalidRequest", Message: "Invalid value " + value + " for property parameters.Source." + property + " for resource name " +
			target.Name() + ". Kindly refer to the docs: https://aka.ms/acr/import"}
	}
	switch {
	case (o.resourceID == "") == (o.host == ""):
		return invalid("RegistryUri", q.Source.RegistryURI)
	case o.resourceID != "" && !strings.Contains(strings.ToLower(o.resourceID), "/providers/microsoft.containerregistry/registries/"):
		return invalid("ResourceId", o.resourceID)
	case o.host != "" && (!strings.Contains(o.host, ".") || strings.Contains(o.host, "/")):
		return invalid("RegistryUri", o.host)
	}
	if credentials := q.Source.Credentials; credentials != nil && o.host != "" {
		if credentials.Password == "" {
			return invalid("Credentials.Password", "null")
		}
		o.user, o.password = credentials.Username, credentials.Password
	}
	return nil
}

// readTarget takes over where the image goes. A tag that is left out is the source's, or latest.
func (o *order) readTarget(q request, target *Registry) *Failure {
	invalid := func(property, value string) *Failure {
		return &Failure{Code: "InvalidRequest", Message: "Invalid value " + value + " for property parameters." + property + " for resource name " +
			target.Name() + ". Kindly refer to the docs: https://aka.ms/acr/import"}
	}
	tag := o.tag
	if tag == "" {
		tag = "latest"
	}
	for _, text := range q.TargetTags {
		found := targetTag.FindStringSubmatch(text)
		if found == nil {
			return invalid("TargetTags", text)
		}
		n := name{found[1], found[2]}
		setDefault(&n.tag, tag)
		o.tags = append(o.tags, n)
	}
	for _, repository := range q.Untagged {
		if found := targetTag.FindStringSubmatch(repository); found == nil || found[2] != "" {
			return invalid("UntaggedTargetRepositories", repository)
		}
		o.untagged = append(o.untagged, repository)
	}
	if len(o.tags) == 0 && len(o.untagged) == 0 {
		o.tags = []name{{o.repository, tag}}
	}
	if q.Mode != "" && q.Mode != "NoForce" && q.Mode != "Force" {
		return invalid("Mode", q.Mode)
	}
	o.force = q.Mode == "Force"
	return nil
}

// repositories are those of the target that get the content, each once.
func (o order) repositories() []string {
	var names []string
	seen := map[string]bool{}
	add := func(repository string) {
		if !seen[repository] {
			seen[repository] = true
			names = append(names, repository)
		}
	}
	for _, n := range o.tags {
		add(n.repository)
	}
	for _, repository := range o.untagged {
		add(repository)
	}
	return names
}

// source names what is imported, for the account.
func (o order) source(c *Cloud) string {
	host := o.host
	if o.resourceID != "" {
		host = o.resourceID
		if r := c.byID(o.resourceID); r != nil {
			host = r.LoginServer()
		}
	}
	if o.digest != "" {
		return host + "/" + o.repository + "@" + o.digest
	}
	return host + "/" + o.repository + ":" + o.tag
}
