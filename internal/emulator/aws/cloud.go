package aws

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Options of a [Cloud].
type Options struct {
	// Keys are the secrets of users, by the ID of the access key.
	Keys map[string]string
	// Roles can be assumed.
	Roles []Role
	// Container is what the header Authorization has to be at /container, and Instance the name of the role of an instance; empty for none.
	Container, Instance string
	// Session is how long the credentials of roles last, 0 for an hour; Token how long a registry's password does, 0 for twelve.
	Session, Token time.Duration
	// Images lists the tags of a repository with their digests, and reports whether there is one; nil for none.
	Images func(repository string) (tags []ListedTag, found bool)
	// Account is the only one whose registry can be written to; empty for any. Known is how long a registry takes to know a repository that was
	// created.
	Account string
	Known   time.Duration
}

// ListedTag is an image ID of ECR's API; an empty tag or digest is missing.
type ListedTag struct {
	Tag    string `json:"imageTag,omitempty"`
	Digest string `json:"imageDigest,omitempty"`
}

// Role can be assumed.
type Role struct {
	ARN string
	// ExternalID is what it takes to assume it with another credential. WebIdentity is the token that it takes without one.
	ExternalID, WebIdentity string
	// Denied may not ask ECR for a token, Puller not create repositories.
	Denied, Puller bool
	// Unlisted may not list images.
	Unlisted bool
}

// Repository is one that was created through ECR's API.
type Repository struct {
	// Settings is the body of the request, Lifecycle the policy that was put; empty for none.
	Settings, Lifecycle string

	born time.Time
}

// Cloud answers all requests to AWS, whatever the host: STS and ECR's API at /, credentials of a container at /container, those of an
// instance at /latest.
type Cloud struct {
	options Options

	mu        sync.Mutex
	keys      map[string]key
	passwords map[string]time.Time // of registries, with their end
	created   map[string]*Repository
	calls     []string
	secrets   []string
	throttles int
	logins    int
	answer    int
}

// key is a credential.
type key struct {
	secret, session, owner string
	ends                   time.Time // zero for never
	denied, puller         bool
	unlisted               bool
}

// New makes one.
func New(o Options) *Cloud {
	if o.Session == 0 {
		o.Session = time.Hour
	}
	if o.Token == 0 {
		o.Token = 12 * time.Hour
	}
	c := &Cloud{options: o, keys: map[string]key{}, passwords: map[string]time.Time{}, created: map[string]*Repository{}}
	for id, secret := range o.Keys {
		c.keys[id] = key{secret: secret, owner: "user/" + id}
		c.secrets = append(c.secrets, secret)
	}
	return c
}

// Throttle has the next n requests to ECR's API refused: with status 400, as ECR does, or with another.
func (c *Cloud) Throttle(n, status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.throttles, c.answer = n, status
}

// Login returns a password of the registries of a region, as `aws ecr get-login-password` does.
func (c *Cloud) Login(region string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	password, _ := c.login(region)
	return password
}

func (c *Cloud) login(region string) (password string, ends time.Time) {
	c.logins++
	password, ends = fmt.Sprintf("passw0rd-%s-%d", region, c.logins), time.Now().Add(c.options.Token)
	c.passwords[password] = ends
	c.secrets = append(c.secrets, password)
	return password, ends
}

// Calls returns what was asked for and by whom, such as "ecr eu-west-1 GetAuthorizationToken role/x".
func (c *Cloud) Calls() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.calls...)
}

// Created returns the repositories that were created through the API, by their names.
func (c *Cloud) Created() map[string]Repository {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := map[string]Repository{}
	for name, r := range c.created {
		all[name] = *r
	}
	return all
}

// Secrets returns all secrets that there were.
func (c *Cloud) Secrets() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string{c.options.Container}, c.secrets...)
}

// ServeHTTP answers a request.
func (c *Cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch target := r.Header.Get("X-Amz-Target"); {
	case r.URL.Path == "/container" && c.options.Container != "":
		c.container(w, r)
	case strings.HasPrefix(r.URL.Path, "/latest/"):
		c.instance(w, r)
	case r.URL.Path == "/" && target != "":
		c.api(w, r, body, target)
	case r.URL.Path == "/":
		c.sts(w, r, body)
	default:
		http.NotFound(w, r)
	}
}

// issue makes the credential of a session.
func (c *Cloud) issue(owner string, role Role) (id string, k key) {
	n := len(c.keys) + 1
	id = fmt.Sprintf("ASIAEMULATOR%04d", n)
	k = key{secret: fmt.Sprintf("s3cret/of+session%d", n), session: fmt.Sprintf("FwoGs3ssion%d==", n), owner: owner, ends: time.Now().Add(c.options.Session), denied: role.Denied, puller: role.Puller, unlisted: role.Unlisted}
	c.keys[id] = k
	c.secrets = append(c.secrets, k.secret, k.session)
	return id, k
}

// caller returns whose request it is, or the code of an error.
func (c *Cloud) caller(r *http.Request, body []byte, service string) (k key, s signed, code string) {
	s, _, _, ok := readSignature(r)
	k, known := c.keys[s.keyID]
	switch {
	case !ok:
		return k, s, "MissingAuthenticationToken"
	case !known, r.Header.Get("X-Amz-Security-Token") != k.session:
		return k, s, "UnrecognizedClientException"
	case s.service != service, !verify(r, body, k.secret, time.Now()):
		return k, s, "InvalidSignatureException"
	case !k.ends.IsZero() && time.Now().After(k.ends):
		return k, s, "ExpiredTokenException"
	}
	return k, s, ""
}

// api answers for ECR and ECR Public (AWS JSON 1.1).
func (c *Cloud) api(w http.ResponseWriter, r *http.Request, body []byte, target string) {
	api, operation, _ := strings.Cut(target, ".")
	service := map[string]string{"AmazonEC2ContainerRegistry_V20150921": "ecr", "SpencerFrontendService": "ecr-public"}[api]
	caller, at, code := c.caller(r, body, service)
	c.calls = append(c.calls, service+" "+at.region+" "+operation+" "+caller.owner)
	refuse := func(status int, code, message string) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]string{"__type": code, "message": message})
	}
	switch {
	case c.throttles > 0:
		c.throttles--
		refuse(c.answer, "ThrottlingException", "Rate exceeded")
	case code != "":
		refuse(http.StatusBadRequest, code, "refused\nThe Canonical String should have been "+r.Header.Get("X-Amz-Security-Token"))
	case caller.denied:
		refuse(http.StatusBadRequest, "AccessDeniedException", "User: "+caller.owner+" is not authorized to perform: "+service+":"+operation)
	case operation == "GetAuthorizationToken":
		password, ends := c.login(at.region)
		data := map[string]any{"authorizationToken": base64.StdEncoding.EncodeToString([]byte("AWS:" + password)), "expiresAt": float64(ends.UnixMilli()) / 1000}
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		if service == "ecr-public" {
			_ = json.NewEncoder(w).Encode(map[string]any{"authorizationData": data})
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"authorizationData": []any{data}})
	case service == "ecr" && (operation == "CreateRepository" || operation == "PutLifecyclePolicy"):
		if code, message := c.write(operation, body, caller); code != "" {
			refuse(http.StatusBadRequest, code, message)
			return
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		_, _ = io.WriteString(w, "{}")
	case service == "ecr" && operation == "ListImages":
		answer, code, message := c.list(body, caller)
		if code != "" {
			refuse(http.StatusBadRequest, code, message)
			return
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		_ = json.NewEncoder(w).Encode(answer)
	default:
		refuse(http.StatusBadRequest, "UnknownOperationException", operation)
	}
}

// list returns a page of ListImages, or the code and the message of an error.
func (c *Cloud) list(body []byte, caller key) (answer map[string]any, code, message string) {
	var doc struct {
		RepositoryName, RegistryID, NextToken string
		MaxResults                            int
		Filter                                struct{ TagStatus string }
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		return nil, "SerializationException", err.Error()
	}
	if caller.unlisted || c.options.Account != "" && doc.RegistryID != c.options.Account {
		return nil, "AccessDeniedException", "User: " + caller.owner + " is not authorized to perform: ecr:ListImages"
	}
	var tags []ListedTag
	found := false
	if c.options.Images != nil {
		tags, found = c.options.Images(doc.RepositoryName)
	}
	if !found {
		return nil, "RepositoryNotFoundException", "The repository with name '" + doc.RepositoryName + "' does not exist"
	}
	if doc.Filter.TagStatus == "TAGGED" {
		tags = slices.DeleteFunc(tags, func(t ListedTag) bool { return t.Tag == "" })
	}
	from, _ := strconv.Atoi(doc.NextToken)
	to := min(len(tags), from+cmp.Or(doc.MaxResults, 100))
	answer = map[string]any{"imageIds": tags[from:to]}
	if to < len(tags) {
		answer["nextToken"] = strconv.Itoa(to)
	}
	return answer, "", ""
}

// write creates a repository, or sets its lifecycle policy. It returns the code and the message of an error.
func (c *Cloud) write(operation string, body []byte, caller key) (code, message string) {
	var doc struct{ RepositoryName, RegistryID, LifecyclePolicyText string }
	if err := json.Unmarshal(body, &doc); err != nil {
		return "SerializationException", err.Error()
	}
	name := doc.RepositoryName
	known := c.created[name]
	switch {
	case caller.puller, c.options.Account != "" && doc.RegistryID != c.options.Account:
		return "AccessDeniedException", "User: " + caller.owner + " is not authorized to perform: ecr:" + operation
	case operation == "PutLifecyclePolicy" && known == nil:
		return "RepositoryNotFoundException", "The repository with name '" + name + "' does not exist"
	case operation == "PutLifecyclePolicy":
		known.Lifecycle = doc.LifecyclePolicyText
	case known != nil:
		return "RepositoryAlreadyExistsException", "The repository with name '" + name + "' already exists"
	default:
		c.created[name] = &Repository{Settings: string(body), born: time.Now()}
	}
	return "", ""
}

// Repositories has a registry know only the repositories that were created through the API.
func (c *Cloud) Repositories(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m := inRepository.FindStringSubmatch(r.URL.Path)
		known := m == nil
		if m != nil {
			c.mu.Lock()
			created := c.created[m[1]]
			known = created != nil && time.Since(created.born) >= c.options.Known
			c.mu.Unlock()
		}
		if known {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprintf(w, `{"errors":[{"code":"NAME_UNKNOWN","message":"The repository with name '%s' does not exist in the registry with id '%s'"}]}`, m[1], c.options.Account)
	})
}

// inRepository matches the paths of a repository.
var inRepository = regexp.MustCompile(`^/v2/(.+?)/(?:manifests|blobs|tags|referrers)/`)

// Registry puts ECR's sign-in before a registry.
func (c *Cloud) Registry(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		c.mu.Lock()
		ends, known := c.passwords[password]
		c.mu.Unlock()
		if user == "AWS" && known && time.Now().Before(ends) {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="https://`+r.Host+`/",service="ecr.amazonaws.com"`)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"errors":[{"code":"UNAUTHORIZED","message":"Not Authorized"}]}`)
	})
}
