package auth

import (
	"bytes"
	"cmp"
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

// Store is the user's credential store: the files that `docker login` and `skopeo login` write, and the credential helpers that they name.
// A nil *Store is empty.
type Store struct {
	files []authFile
}

// authFile is Docker's config.json. Containers' auth.json (containers-auth.json(5)) is a part of it, with finer keys.
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

// maxCredentials limits the size of a credential file, in bytes.
const maxCredentials = 16 << 20

// Load reads the existing files: $REGISTRY_AUTH_FILE first, then Docker's config.json in $DOCKER_CONFIG or the home directory, then
// containers' auth.json in $XDG_RUNTIME_DIR and the user's configuration directory. The first that has something for a repository wins. An
// unreadable file is an error.
func Load(getenv func(string) string) (*Store, error) {
	s := &Store{}
	for _, path := range Files(getenv) {
		raw, err := file.ReadText(path, maxCredentials)
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
		s.files = append(s.files, file)
	}
	return s, nil
}

// Files are the files that [Load] looks for, whether they exist or not.
func Files(getenv func(string) string) []string {
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

// byName indexes entries by the normalized name of their key. Of several for one name, a non-empty one wins, then the one whose key is the
// name itself.
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

// normalKey turns the keys in use ("https://index.docker.io/v1/", "ghcr.io", "ghcr.io/acme") into host or host/path.
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

// key names the entry that answers for a repository, so that repositories with the same entry share an endpoint.
func (s *Store) key(repo image.Repository) string {
	if s == nil {
		return ""
	}
	for _, file := range s.files {
		if name, _, _ := file.find(repo); name != "" {
			return file.path + " " + name
		}
	}
	return repo.Registry
}

// Has reports whether there is an entry for a repository, as far as that is known without asking a helper.
func (s *Store) Has(repo image.Repository) bool {
	if s == nil {
		return false
	}
	found := false
	for _, file := range s.files {
		prefixes(repo, func(name string) bool {
			_, helped := file.CredHelpers[name]
			_, entered := file.Auths[name] // empty if a credential store has it
			found = found || helped || entered
			return found
		})
	}
	return found
}

// storeLasts is how long a credential of the store is used before it is read again: helpers return tokens that expire, Amazon's after
// twelve hours.
const storeLasts = time.Hour

// Lookup is the [Source] of the store's credentials.
func (s *Store) Lookup(ctx context.Context, repo image.Repository) (Credential, time.Time, error) {
	expires := time.Now().Add(storeLasts)
	if s == nil {
		return Credential{}, time.Time{}, nil
	}
	lacking := ""
	for _, file := range s.files {
		credential, err := file.lookup(ctx, repo)
		if err != nil {
			return Credential{}, expires, fmt.Errorf("%s: %w", file.path, err)
		}
		if !credential.Anonymous() {
			return credential, expires, nil
		}
		lacking = cmp.Or(lacking, credential.Lacking)
	}
	return Credential{Lacking: lacking}, expires, nil
}

// lookup reads the credential from a file. If the program that the file names is missing, or a store for all registries fails, there is no
// credential: most requests need none.
func (f authFile) lookup(ctx context.Context, repo image.Repository) (Credential, error) {
	var credential Credential
	var err error
	_, helper, entry := f.find(repo)
	if helper != "" {
		if credential, err = askHelper(ctx, helper, serverName(repo.Registry)); errors.Is(err, exec.ErrNotFound) || errors.Is(err, errNoSecret) {
			credential, err = Credential{Lacking: f.lacking("credHelpers", helper, err)}, nil
		}
	} else {
		credential, err = entry.credential()
	}
	if err == nil && credential == (Credential{}) && f.CredsStore != "" {
		if credential, err = askHelper(ctx, f.CredsStore, serverName(repo.Registry)); err != nil && ctx.Err() == nil {
			credential, err = Credential{Lacking: f.lacking("credsStore", f.CredsStore, err)}, nil
		}
	}
	return credential, err
}

// find returns the name under which a file has a helper or an entry for a repository; empty for none.
func (f authFile) find(repo image.Repository) (name, helper string, entry authEntry) {
	prefixes(repo, func(of string) bool {
		helper, entry = f.CredHelpers[of], f.Auths[of]
		if helper != "" || entry != (authEntry{}) {
			name = of
		}
		return name != ""
	})
	return name, helper, entry
}

// Lacking returns the missing program that would supply the credential of a repository; empty for none.
func (s *Store) Lacking(repo image.Repository) string {
	if s == nil {
		return ""
	}
	lacking := ""
	for _, file := range s.files {
		name, helper, _ := file.find(repo)
		key := "credHelpers"
		if name == "" {
			helper, key = file.CredsStore, "credsStore"
		}
		if name == "" && helper == "" {
			continue
		}
		if _, err := exec.LookPath(program(helper)); helper == "" || err == nil {
			return ""
		}
		lacking = cmp.Or(lacking, file.lacking(key, helper, exec.ErrNotFound))
	}
	return lacking
}

// lacking says why a helper that a file names returned no credential.
func (f authFile) lacking(key, helper string, err error) string {
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Sprintf("%s names the helper %s in %s, and that is not installed", f.path, program(helper), key)
	}
	return fmt.Sprintf("%s names the helper %s in %s, and that fails: %v", f.path, program(helper), key, err)
}

func (e authEntry) credential() (Credential, error) {
	c := Credential{Username: e.Username, Password: e.Password, IdentityToken: e.IdentityToken}
	if e.Auth == "" {
		return c, nil
	}
	raw, err := base64.StdEncoding.DecodeString(e.Auth)
	user, password, ok := strings.Cut(string(raw), ":")
	if err != nil || !ok {
		return Credential{}, errors.New("an auth entry is not user:password in base64: sign in again")
	}
	c.Username = user
	if c.IdentityToken == "" {
		c.Password = strings.Trim(password, "\x00")
	}
	return c, nil
}
