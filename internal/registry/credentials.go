package registry

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/draysync/dray/internal/file"
	"github.com/draysync/dray/internal/image"
)

// Credential signs in to a registry. The zero value is anonymous.
type Credential struct {
	Username string
	Password string
	// IdentityToken is a refresh token, as some registries' `docker login` leaves.
	IdentityToken string
}

// account names who signs in: a token does not say.
func (c Credential) account() string {
	if c.Username == "" && c.IdentityToken != "" {
		return "identity token"
	}
	return c.Username
}

// Credentials is the user's credential store: the files that `docker login` and `skopeo login` leave, and the credential
// helpers that they name. A nil *Credentials has none.
type Credentials struct {
	files []authFile
}

// authFile is Docker's config.json, of which containers' auth.json (containers-auth.json(5)) is a part with finer keys.
type authFile struct {
	path        string
	Auths       map[string]authEntry `json:"auths"`
	CredHelpers map[string]string    `json:"credHelpers"`
	CredsStore  string               `json:"credsStore"`
}

type authEntry struct {
	Auth          string `json:"auth"`
	Username      string `json:"username"`
	Password      string `json:"password"`
	IdentityToken string `json:"identitytoken"`
}

// maxCredentials is the largest credential file that is read, in bytes.
const maxCredentials = 16 << 20

// LoadCredentials reads the files that are there: $REGISTRY_AUTH_FILE first, then Docker's config.json in $DOCKER_CONFIG or
// the home directory, then containers' auth.json in $XDG_RUNTIME_DIR and the user's configuration directory. The first that
// has something for a repository answers. A file that is there and cannot be read is an error.
func LoadCredentials(getenv func(string) string) (*Credentials, error) {
	c := &Credentials{}
	for _, path := range CredentialFiles(getenv) {
		raw, err := file.Read(path, maxCredentials)
		if errors.Is(err, fs.ErrNotExist) || len(bytes.TrimSpace(raw)) == 0 && err == nil {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("credentials: %w", err)
		}
		file := authFile{path: path}
		if err := json.Unmarshal(raw, &file); err != nil {
			return nil, fmt.Errorf("credentials: %s: %w", path, err)
		}
		file.normalise()
		c.files = append(c.files, file)
	}
	return c, nil
}

// CredentialFiles are the files that [LoadCredentials] looks for, there or not.
func CredentialFiles(getenv func(string) string) []string {
	var paths []string
	add := func(dir string, parts ...string) {
		if dir != "" {
			paths = append(paths, filepath.Join(append([]string{dir}, parts...)...))
		}
	}
	add(getenv("REGISTRY_AUTH_FILE"))
	if dir := getenv("DOCKER_CONFIG"); dir != "" {
		add(dir, "config.json")
	} else {
		add(getenv("HOME"), ".docker", "config.json")
	}
	add(getenv("XDG_RUNTIME_DIR"), "containers", "auth.json")
	if dir := getenv("XDG_CONFIG_HOME"); dir != "" {
		add(dir, "containers", "auth.json")
	} else {
		add(getenv("HOME"), ".config", "containers", "auth.json")
	}
	return paths
}

func (f *authFile) normalise() { f.Auths, f.CredHelpers = byName(f.Auths), byName(f.CredHelpers) }

// byName returns entries by the one name of their key. Of several for one name an empty one gives way, and then the one that is
// written otherwise.
func byName[V comparable](entries map[string]V) map[string]V {
	var none V
	named := make(map[string]V, len(entries))
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		name := normalKey(key)
		if named[name] == none || key == name && entries[key] != none {
			named[name] = entries[key]
		}
	}
	return named
}

// normalKey turns the keys that occur ("https://index.docker.io/v1/", "ghcr.io", "ghcr.io/acme") into host or host/path.
func normalKey(key string) string {
	if _, rest, ok := strings.Cut(key, "://"); ok {
		key = rest
	}
	key = strings.TrimSuffix(key, "/")
	for _, version := range []string{"/v1", "/v2"} {
		key = strings.TrimSuffix(key, version)
	}
	host, rest, hasPath := strings.Cut(key, "/")
	if canonical, err := image.CanonicalHost(host); err == nil {
		host = canonical
	}
	if hasPath {
		return host + "/" + rest
	}
	return host
}

// prefixes calls f with the repository and all that it lies below, the longest first, until f returns true.
func prefixes(repo image.Repository, f func(string) bool) {
	name := repo.String()
	for {
		if f(name) {
			return
		}
		i := strings.LastIndexByte(name, '/')
		if i < 0 {
			return
		}
		name = name[:i]
	}
}

// key names what would answer for a repository, so that repositories with one answer share an endpoint.
func (c *Credentials) key(repo image.Repository) string {
	found := ""
	if c == nil {
		return found
	}
	for _, file := range c.files {
		prefixes(repo, func(name string) bool {
			if _, ok := file.CredHelpers[name]; ok {
				found = file.path + " " + name
			} else if entry, ok := file.Auths[name]; ok && entry != (authEntry{}) {
				found = file.path + " " + name
			}
			return found != ""
		})
		if found != "" {
			return found
		}
	}
	return repo.Registry
}

// Has tells whether there is an entry for a repository, as far as that can be told without asking a helper.
func (c *Credentials) Has(repo image.Repository) bool {
	if c == nil {
		return false
	}
	found := false
	for _, file := range c.files {
		prefixes(repo, func(name string) bool {
			_, helped := file.CredHelpers[name]
			_, entered := file.Auths[name] // empty where a credential store has it
			found = found || helped || entered
			return found
		})
	}
	return found
}

// Lookup returns the credential for a repository; the zero value where there is none.
func (c *Credentials) Lookup(ctx context.Context, repo image.Repository) (Credential, error) {
	if c == nil {
		return Credential{}, nil
	}
	for _, file := range c.files {
		credential, err := file.lookup(ctx, repo)
		if err != nil {
			return Credential{}, fmt.Errorf("%s: %w", file.path, err)
		}
		if credential != (Credential{}) {
			return credential, nil
		}
	}
	return Credential{}, nil
}

func (f authFile) lookup(ctx context.Context, repo image.Repository) (Credential, error) {
	var credential Credential
	var err error
	prefixes(repo, func(name string) bool {
		if helper, ok := f.CredHelpers[name]; ok {
			credential, err = askHelper(ctx, helper, serverName(repo.Registry))
			return true
		}
		entry, ok := f.Auths[name]
		if ok && entry != (authEntry{}) {
			credential, err = entry.credential()
			return true
		}
		return false
	})
	if err == nil && credential == (Credential{}) && f.CredsStore != "" {
		return askHelper(ctx, f.CredsStore, serverName(repo.Registry))
	}
	return credential, err
}

func (e authEntry) credential() (Credential, error) {
	c := Credential{Username: e.Username, Password: e.Password, IdentityToken: e.IdentityToken}
	if e.Auth == "" {
		return c, nil
	}
	raw, err := base64.StdEncoding.DecodeString(e.Auth)
	user, password, ok := strings.Cut(string(raw), ":")
	if err != nil || !ok {
		return Credential{}, errors.New("an auth entry is not user:password in base64: sign in anew")
	}
	c.Username = user
	if c.IdentityToken == "" {
		c.Password = strings.Trim(password, "\x00")
	}
	return c, nil
}

// serverName is the name under which Docker stores credentials of a registry.
func serverName(registry string) string {
	if registry == image.DockerHub {
		return "https://index.docker.io/v1/"
	}
	return registry
}

const (
	helperTimeout = 30 * time.Second
	// maxHelperOutput bounds what a helper may say, in bytes.
	maxHelperOutput = 64 << 10
	// tokenUser is what a helper gives as the user where the secret is an identity token.
	tokenUser = "<token>"
)

// askHelper runs a credential helper by the protocol of docker-credential-helpers: the server on standard input, a JSON
// object on standard output. That it has nothing for the server is no error.
func askHelper(ctx context.Context, helper, server string) (Credential, error) {
	ctx, cancel := context.WithTimeout(ctx, helperTimeout)
	defer cancel()
	program := "docker-credential-" + helper
	command := exec.CommandContext(ctx, program, "get") //nolint:gosec // the user's own file names the helper, as for docker itself
	command.Stdin = strings.NewReader(server)
	command.WaitDelay = 250 * time.Millisecond
	out := &boundedBuffer{left: maxHelperOutput}
	command.Stdout = out
	err := command.Run()
	switch {
	case out.left < 0:
		return Credential{}, fmt.Errorf("%s get: it says more than %d bytes", program, maxHelperOutput)
	case err != nil && bytes.Contains(out.kept, []byte("credentials not found")):
		return Credential{}, nil
	case err != nil: // what it says may be a secret
		return Credential{}, fmt.Errorf("%s get: %w; run it by hand to see what it says: echo %s | %[1]s get", program, err, server)
	}
	var answer struct{ Username, Secret string }
	if err := json.Unmarshal(out.kept, &answer); err != nil {
		return Credential{}, fmt.Errorf("%s get: its answer is no JSON object", program)
	}
	if answer.Username == tokenUser {
		return Credential{IdentityToken: answer.Secret}, nil
	}
	return Credential{Username: answer.Username, Password: answer.Secret}, nil
}

// boundedBuffer keeps what is written to it up to a bound, and refuses what comes then.
type boundedBuffer struct {
	kept []byte
	left int
}

// Write implements io.Writer.
func (b *boundedBuffer) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, errTooLong
	}
	b.kept = append(b.kept, p...)
	return len(p), nil
}
