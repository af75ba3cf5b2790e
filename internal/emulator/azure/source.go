package azure

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/draysync/dray/internal/emulator/registry"
)

// source is a repository that an import reads.
type source interface {
	// resolve returns a tag's digest.
	resolve(tag string) (string, error)
	manifest(reference string) (fetched, error)
	blob(d descriptor) ([]byte, error)
}

// open finds the source of the import.
func (op *operation) open(ctx context.Context) (source, error) {
	c, o := op.cloud, op.order
	if o.resourceID == "" {
		r := &remote{ctx: ctx, client: http.Client{Transport: inner{c}}, host: o.host, repository: o.repository, user: o.user, password: o.password}
		if from := c.byHost(o.host); from != nil {
			r.service, r.isRegistry = from.LoginServer(), true
		}
		return r, nil
	}
	from := c.byID(o.resourceID)
	s := from.settings()
	if s.NoExport || s.NoPublicAccess && s.NoTrustedServices {
		return nil, accessDenied(from.LoginServer())
	}
	return &remote{
		ctx: ctx, client: http.Client{Transport: from.Content.Transport()}, host: from.LoginServer(), repository: o.repository, trusted: true,
	}, nil
}

// inner is how imports reach registries: those of the cloud from within, all others by their host.
type inner struct{ cloud *Cloud }

// RoundTrip implements http.RoundTripper.
func (i inner) RoundTrip(r *http.Request) (*http.Response, error) {
	var handler http.Handler
	if to := i.cloud.byHost(r.URL.Host); to != nil {
		handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { to.serve(w, r, true) })
	} else if handler = i.cloud.outside(r.URL.Host); handler == nil {
		return registry.Network{}.RoundTrip(r)
	}
	return registry.Network{r.URL.Host: handler}.RoundTrip(r)
}

// remote is a repository that is read over the distribution API.
type remote struct {
	ctx                context.Context
	client             http.Client
	host, repository   string
	user, password     string
	service            string // login server, of a registry of the cloud
	isRegistry         bool
	trusted            bool // needs no sign-in
	authorizationValue string
}

// manifestTypes are the media types that an import asks for.
const manifestTypes = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, " +
	"application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json"

// do sends a request, signs in where that is asked for, and reads the answer.
func (s *remote) do(method, path string, header http.Header) (*http.Response, []byte, error) {
	response, data, err := s.send(method, path, header)
	if err == nil && response.StatusCode == http.StatusUnauthorized && !s.trusted && s.signIn(response.Header.Get("WWW-Authenticate")) {
		response, data, err = s.send(method, path, header)
	}
	return response, data, err
}

func (s *remote) send(method, path string, header http.Header) (*http.Response, []byte, error) {
	req, err := http.NewRequestWithContext(s.ctx, method, "https://"+s.host+"/v2/"+s.repository+path, nil)
	if err != nil {
		return nil, nil, err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	req.Header.Set("User-Agent", "AzureContainerRegistry/import")
	if s.authorizationValue != "" {
		req.Header.Set("Authorization", s.authorizationValue)
	}
	return s.read(req)
}

func (s *remote) read(req *http.Request) (*http.Response, []byte, error) {
	response, err := s.client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(response.Body)
	return response, data, err
}

// signIn answers a challenge; it returns false where nothing more can be said.
func (s *remote) signIn(challenge string) bool {
	scheme, rest, _ := strings.Cut(challenge, " ")
	req := http.Request{Header: http.Header{}}
	req.SetBasicAuth(s.user, s.password)
	if strings.EqualFold(scheme, "Basic") {
		s.authorizationValue = req.Header.Get("Authorization")
		return s.user != ""
	}
	fields := parameters(rest)
	query := url.Values{"service": {fields["service"]}, "scope": {fields["scope"]}}
	if s.user == "" && s.password != "" {
		return s.exchange(query)
	}
	get, err := http.NewRequestWithContext(s.ctx, http.MethodGet, fields["realm"]+"?"+query.Encode(), nil)
	if err != nil {
		return false
	}
	if s.user != "" {
		get.Header = req.Header
	}
	return s.keep(get)
}

// exchange signs in with a token of Entra as the only credential, which registries of Azure take.
func (s *remote) exchange(query url.Values) bool {
	post := func(path string, form url.Values) *http.Request {
		req, err := http.NewRequestWithContext(s.ctx, http.MethodPost, "https://"+s.host+path, strings.NewReader(form.Encode()))
		if err != nil {
			return nil
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return req
	}
	refresh := s.password
	first := post("/oauth2/exchange", url.Values{"grant_type": {"access_token"}, "service": {query.Get("service")}, "access_token": {s.password}})
	if first == nil || !s.isRegistry {
		return false
	}
	if response, data, err := s.read(first); err == nil && response.StatusCode == http.StatusOK {
		var answer struct {
			Token string `json:"refresh_token"`
		}
		if json.Unmarshal(data, &answer) == nil {
			refresh = answer.Token
		}
	}
	query.Set("grant_type", "refresh_token")
	query.Set("refresh_token", refresh)
	second := post("/oauth2/token", query)
	return second != nil && s.keep(second)
}

// keep sends a request for an access token and keeps that.
func (s *remote) keep(req *http.Request) bool {
	response, data, err := s.read(req)
	if err != nil || response.StatusCode != http.StatusOK {
		return false
	}
	var answer struct {
		Token  string `json:"token"`
		Access string `json:"access_token"`
	}
	if json.Unmarshal(data, &answer) != nil {
		return false
	}
	setDefault(&answer.Access, answer.Token)
	s.authorizationValue = "Bearer " + answer.Access
	return answer.Access != ""
}

// parameters reads those of a challenge; values with commas are quoted.
func parameters(text string) map[string]string {
	found := map[string]string{}
	for text != "" {
		name, rest, _ := strings.Cut(text, "=")
		value := ""
		if quoted, is := strings.CutPrefix(rest, `"`); is {
			value, text, _ = strings.Cut(quoted, `"`)
		} else {
			value, text, _ = strings.Cut(rest, ",")
		}
		found[strings.Trim(name, ", ")] = value
	}
	return found
}

func (s *remote) resolve(tag string) (string, error) {
	response, data, err := s.do(http.MethodHead, "/manifests/"+tag, http.Header{"Accept": {manifestTypes}})
	if err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK {
		return "", manifestFailure(response.StatusCode, data)
	}
	return response.Header.Get("Docker-Content-Digest"), nil
}

func (s *remote) manifest(reference string) (fetched, error) {
	response, data, err := s.do(http.MethodGet, "/manifests/"+reference, http.Header{"Accept": {manifestTypes}})
	if err != nil {
		return fetched{}, err
	}
	if response.StatusCode != http.StatusOK {
		return fetched{}, manifestFailure(response.StatusCode, data)
	}
	m := fetched{digest: response.Header.Get("Docker-Content-Digest"), mediaType: response.Header.Get("Content-Type"), body: data}
	if m.digest == "" {
		return m, invalid("No value specified for Docker-Content-Digest OK OK " + string(data))
	}
	if registry.Sum(data) != m.digest {
		return m, invalid(fmt.Sprintf("Unable to find manifest digest  Repo: %s/%s Tag: %s Manifest: ", s.host, s.repository, reference))
	}
	return m, nil
}

// manifestFailure hands on why a source did not give a manifest.
func manifestFailure(status int, data []byte) error {
	if status != http.StatusTooManyRequests {
		return sourceRefused(status, strings.TrimSpace(string(data)))
	}
	var answer struct {
		Errors []struct{ Code, Message string }
	}
	if json.Unmarshal(data, &answer) != nil || len(answer.Errors) == 0 {
		return invalid("An error occurred when getting manifest. StatusCode: 429, " + strings.TrimSpace(string(data)))
	}
	return invalid("An error occurred when getting manifest. StatusCode: 429, " + answer.Errors[0].Code + ": " + answer.Errors[0].Message)
}

// chunk is how many bytes of a blob are asked for at a time.
const chunk = 16 << 20

// blob reads one by ranges, which a source has to support.
func (s *remote) blob(d descriptor) ([]byte, error) {
	data := make([]byte, 0, d.Size)
	for at := int64(0); at < d.Size; at += chunk {
		last := min(at+chunk, d.Size) - 1
		header := http.Header{"Range": {"bytes=" + strconv.FormatInt(at, 10) + "-" + strconv.FormatInt(last, 10)}}
		response, part, err := s.do(http.MethodGet, "/blobs/"+d.Digest, header)
		switch {
		case err != nil:
			return nil, CopyingBlobs()
		case response.StatusCode == http.StatusOK:
			return nil, bare("The remote server may not be RFC 7233 compliant")
		case response.StatusCode != http.StatusPartialContent:
			return nil, bare("Unexpected response status code")
		case int64(len(part)) != last-at+1:
			return nil, bare("Unexpected length of body in response")
		}
		data = append(data, part...)
	}
	return data, nil
}
