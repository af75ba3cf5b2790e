package google

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"

	"github.com/draysync/dray/internal/file"
	"github.com/draysync/dray/internal/switching"
)

// session is one attempt to get a token. It keeps how the last request failed: the errors of x/oauth2 quote whole answers.
type session struct {
	options Options
	failed  *answer
	machine bool // the token is that of this machine's service account
}

// answer is a request that was refused, or not answered: then its status is 0.
type answer struct {
	host, code, text string
	status           int
}

func (c *Client) newSession() *session { return &session{options: c.options} }

// client sends the requests of an attempt. It follows no redirects: they would lead a secret elsewhere.
func (s *session) client() *http.Client {
	return &http.Client{Transport: s, Timeout: requestTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// maxBody limits an answer and a file, in bytes.
const maxBody = 1 << 20

// RoundTrip sends a request, and remembers how it failed.
func (s *session) RoundTrip(r *http.Request) (*http.Response, error) {
	s.failed = nil
	resp, err := switching.Refused(s.options.HTTP.RoundTrip(r))
	if err != nil {
		s.failed = &answer{host: r.URL.Host, text: err.Error()}
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	_ = resp.Body.Close()
	if err != nil {
		s.failed = &answer{host: r.URL.Host, text: err.Error()}
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	if resp.StatusCode >= http.StatusMultipleChoices {
		s.failed = &answer{host: r.URL.Host, status: resp.StatusCode}
		s.failed.code, s.failed.text = said(body)
	}
	return resp, nil
}

// said reads a refusal: OAuth's (RFC 6749, section 5.2), or that of Google's APIs.
func said(body []byte) (code, text string) {
	var doc struct {
		Error       json.RawMessage `json:"error"`
		Description string          `json:"error_description"`
	}
	var api struct{ Status, Message string }
	switch {
	case json.Unmarshal(body, &doc) != nil:
	case json.Unmarshal(doc.Error, &code) == nil:
		return code, doc.Description
	case json.Unmarshal(doc.Error, &api) == nil:
		return api.Status, api.Message
	}
	return "", ""
}

// credentialsFile is what is read of a file of credentials besides what x/oauth2 does. Installed and Web are of a program's registration, for which
// x/oauth2 takes it whatever its type, and asks for a browser.
type credentialsFile struct {
	Type        string          `json:"type"`
	ClientEmail string          `json:"client_email"`
	Impersonate string          `json:"service_account_impersonation_url"`
	Installed   json.RawMessage `json:"installed"`
	Web         json.RawMessage `json:"web"`
}

// find gets a token as the Application Default Credentials say ("How Application Default Credentials works" in Google's docs), or from a file
// that is named instead. account is the service account; empty if it is not known.
func (s *session) find(ctx context.Context, path string) (token *oauth2.Token, account string, err error) {
	path = cmp.Or(path, s.options.Getenv("GOOGLE_APPLICATION_CREDENTIALS"))
	usual := path == ""
	if usual {
		path = s.usualFile()
	}
	raw, err := file.Read(path, maxBody)
	if usual && (path == "" || errors.Is(err, fs.ErrNotExist)) {
		s.machine = true
		token, err = s.metadata(ctx)
		return token, "", err
	}
	if err != nil {
		return nil, "", &fileError{path, err}
	}
	var doc credentialsFile
	if json.Unmarshal(raw, &doc) != nil {
		return nil, "", &fileError{path, errors.New("it is not JSON")}
	}
	kind := google.CredentialsType(doc.Type)
	if !slices.Contains(kinds(), kind) || doc.Installed != nil || doc.Web != nil {
		return nil, "", &fileError{path, errors.New("it has no credentials of a service account, of a user or of workload identity federation")}
	}
	credentials, err := google.CredentialsFromJSONWithType(ctx, raw, kind, scope)
	if err != nil {
		return nil, "", &fileError{path, err}
	}
	token, err = credentials.TokenSource.Token()
	if err != nil && s.failed == nil {
		return nil, "", &fileError{path, err}
	}
	return token, cmp.Or(doc.ClientEmail, emailIn(doc.Impersonate)), err
}

// kinds are those of credentials that a file may have.
func kinds() []google.CredentialsType {
	return []google.CredentialsType{google.ServiceAccount, google.AuthorizedUser, google.ExternalAccount, google.ExternalAccountAuthorizedUser, google.ImpersonatedServiceAccount}
}

// usualFile returns where gcloud writes the credentials of a user; empty if there is no home folder.
func (s *session) usualFile() string {
	const name = "application_default_credentials.json"
	home, below := s.options.Getenv("HOME"), ".config"
	if runtime.GOOS == "windows" {
		home, below = s.options.Getenv("APPDATA"), ""
	}
	if home == "" {
		return ""
	}
	return filepath.Join(home, below, "gcloud", name)
}

// emailIn returns the service account that the URL of an impersonation names.
func emailIn(address string) string {
	_, name, _ := strings.Cut(address, "/serviceAccounts/")
	name, _, _ = strings.Cut(name, ":")
	return plain(name)
}

// impersonateAt is the API that gives the tokens of other service accounts.
const impersonateAt = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/"

// impersonate gets a token of another service account.
func (s *session) impersonate(ctx context.Context, with *oauth2.Token, account string) (*oauth2.Token, error) {
	body, err := json.Marshal(map[string]any{"scope": []string{scope}, "lifetime": "3600s"})
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, impersonateAt+url.PathEscape(account)+":generateAccessToken", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+with.AccessToken)
	r.Header.Set("Content-Type", "application/json")
	var doc struct {
		AccessToken string    `json:"accessToken"`
		ExpireTime  time.Time `json:"expireTime"`
	}
	if err := s.read(r, &doc); err != nil {
		return nil, err
	}
	return &oauth2.Token{AccessToken: doc.AccessToken, Expiry: doc.ExpireTime}, nil
}

// read sends a request and decodes the answer.
func (s *session) read(r *http.Request, into any) error {
	resp, err := s.client().Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return decode(resp, into)
}

// decode reads the JSON of an answer.
func decode(resp *http.Response, into any) error {
	if resp.StatusCode != http.StatusOK {
		return errRefused
	}
	if json.NewDecoder(resp.Body).Decode(into) != nil {
		return errNoToken
	}
	return nil
}
