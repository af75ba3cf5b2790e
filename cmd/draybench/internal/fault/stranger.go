package fault

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/draysync/dray/internal/emulator/registry"
)

// strangers are registries that send their clients to another host, as those do that keep blobs in an object store.
func strangers(side string) []scenario {
	byPassword := &registry.Auth{Users: map[string]string{user: password}, Basic: true}
	kinds := []struct {
		fault, host string
		auth        *registry.Auth
	}{
		{"Location to another host, signed in by token", otherHost, signedIn(0)},
		{"Location to another host, signed in by password", otherHost, byPassword},
		{"Location to another port of the host, signed in by password", sameHost, byPassword},
	}
	var list []scenario
	for _, k := range kinds {
		list = append(list, scenario{
			fault: k.fault, side: side, auth: k.auth,
			arm: func(st *stage, e *end, _ fixture) {
				st.other.chain = st.storage(e)
				if side == Source {
					e.wrap(kind(http.MethodGet, registry.KindBlob), st.redirect(k.host))
				} else {
					e.wrap(kind(http.MethodPost, registry.KindUpload), st.divert(k.host))
				}
			},
		})
	}
	return list
}

// Both registries are asked for by address, so the name of the same machine is another host for a client.
const (
	sameHost  = "127.0.0.1"
	otherHost = "localhost"
	// storagePath is before the paths of the third registry.
	storagePath = "/storage"
)

// elsewhere is the URL, up to the path, of the third registry, by the name of the host.
func (st *stage) elsewhere(host string) string {
	_, port, _ := strings.Cut(st.other.server.Host, ":")
	return "http://" + host + ":" + port + storagePath
}

// redirect sends downloads that are allowed to the other host.
func (st *stage) redirect(host string) action {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		head := r.Clone(r.Context())
		head.Method = http.MethodHead
		answer := &probe{header: http.Header{}}
		if next.ServeHTTP(answer, head); answer.status >= http.StatusBadRequest {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Location", st.elsewhere(host)+r.URL.Path+"?signature=of-the-url")
		w.WriteHeader(http.StatusTemporaryRedirect)
	}
}

// probe is an answer of which only the status is wanted.
type probe struct {
	header http.Header
	status int
}

func (p *probe) Header() http.Header { return p.header }

func (p *probe) Write(data []byte) (int, error) { return len(data), nil }

func (p *probe) WriteHeader(status int) { p.status = status }

// divert sends uploads to the other host.
func (st *stage) divert(host string) action {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(&diverted{ResponseWriter: w, prefix: st.elsewhere(host)}, r)
	}
}

// diverted is an answer whose Location, if it is that of an upload, leads elsewhere.
type diverted struct {
	http.ResponseWriter
	prefix string
}

func (d *diverted) WriteHeader(status int) {
	if location := d.Header().Get("Location"); status == http.StatusAccepted && location != "" {
		d.Header().Set("Location", d.prefix+location)
	}
	d.ResponseWriter.WriteHeader(status)
}

// storage is the other host: it needs no credential, may be given none, and passes on to the end that it works for.
func (st *stage) storage(e *end) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			st.flaw("a credential went to another host")
		}
		inner := r.Clone(r.Context())
		inner.URL.Path = strings.TrimPrefix(r.URL.Path, storagePath)
		if err := e.sign(inner); err != nil {
			problem(w, http.StatusInternalServerError, "UNKNOWN", err.Error())
			return
		}
		e.registry.ServeHTTP(&diverted{ResponseWriter: w, prefix: storagePath}, inner)
	})
}

// sign gives a request what the registry asks for.
func (e *end) sign(r *http.Request) error {
	if e.auth.Basic {
		r.SetBasicAuth(user, password)
		return nil
	}
	repository, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/blobs/")
	token, err := e.token(r.Context(), "repository:"+repository+":pull,push")
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	return nil
}

func (e *end) token(ctx context.Context, scope string) (string, error) {
	address := "http://registry/token?" + url.Values{"scope": {scope}}.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", fmt.Errorf("ask for a token: %w", err)
	}
	request.SetBasicAuth(user, password)
	response, err := e.registry.Transport().RoundTrip(request)
	if err != nil {
		return "", fmt.Errorf("ask for a token: %w", err)
	}
	defer response.Body.Close()
	var answer struct {
		Token string `json:"token"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return "", fmt.Errorf("ask for a token: %w", err)
	}
	return answer.Token, nil
}
