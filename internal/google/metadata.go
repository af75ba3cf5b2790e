package google

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// metadataTimeout limits the search for a metadata service: outside a cloud nothing may answer.
const metadataTimeout = 2 * time.Second

// flavor is a header of requests to the metadata service and of its answers, which tells it from anything else at the address.
const flavor, flavorGoogle = "Metadata-Flavor", "Google"

func (o Options) metadataHost() string {
	return cmp.Or(o.Getenv("GCE_METADATA_HOST"), "169.254.169.254")
}

// errNowhere says that there is no credential at all.
var errNowhere = errors.New("there is no credential in a file, and no service account of this machine")

// metadata gets a token of this machine's service account, or of that of a pod.
func (s *session) metadata(ctx context.Context) (*oauth2.Token, error) {
	looking, cancel := context.WithTimeout(ctx, metadataTimeout)
	defer cancel()
	if resp, err := s.ask(looking, ""); err != nil {
		s.failed = nil
		return nil, errNowhere
	} else if err := resp.Body.Close(); err != nil || resp.Header.Get(flavor) != flavorGoogle {
		s.failed = nil
		return nil, errNowhere
	}
	resp, err := s.ask(ctx, "instance/service-accounts/default/token?scopes="+url.QueryEscape(scope))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusOK && resp.Header.Get(flavor) != flavorGoogle {
		return nil, errNowhere
	}
	var doc struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int64  `json:"expires_in"`
	}
	if err := decode(resp, &doc); err != nil {
		return nil, err
	}
	token := &oauth2.Token{AccessToken: doc.AccessToken}
	if doc.ExpiresIn > 0 && doc.ExpiresIn < int64(usualLife/time.Second) {
		token.Expiry = time.Now().Add(time.Duration(doc.ExpiresIn) * time.Second)
	}
	return token, nil
}

// email returns the address of this machine's service account; empty if it is not told.
func (s *session) email(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, metadataTimeout)
	defer cancel()
	resp, err := s.ask(ctx, "instance/service-accounts/default/email")
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || resp.Header.Get(flavor) != flavorGoogle || !strings.Contains(string(text), "@") {
		return ""
	}
	return plain(string(text))
}

// ask asks the metadata service.
func (s *session) ask(ctx context.Context, path string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.options.metadataHost()+"/computeMetadata/v1/"+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	r.Header.Set(flavor, flavorGoogle)
	return s.client().Do(r)
}
