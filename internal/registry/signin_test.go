package registry

import (
	"encoding/base64"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/draysync/dray/internal/auth"
	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/record"
)

func TestSignIn(t *testing.T) {
	users := map[string]string{"ann": "secret"}
	cases := []struct {
		name    string
		auth    *emulator.Auth
		signIn  auth.Credential
		account string
		refused bool
	}{
		{"open", nil, auth.Credential{}, "", false},
		{"anonymous", &emulator.Auth{AnonymousPull: true}, auth.Credential{}, "", false},
		{"anonymous where that is not allowed", &emulator.Auth{Users: users}, auth.Credential{}, "", true},
		{"bearer", &emulator.Auth{Users: users}, auth.Credential{Username: "ann", Password: "secret"}, "ann", false},
		{"basic", &emulator.Auth{Users: users, Basic: true}, auth.Credential{Username: "ann", Password: "secret"}, "ann", false},
		{"bearer, wrong", &emulator.Auth{Users: users}, auth.Credential{Username: "ann", Password: "wr0ng"}, "ann", true},
		{"basic, wrong", &emulator.Auth{Users: users, Basic: true}, auth.Credential{Username: "ann", Password: "wr0ng"}, "ann", true},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r, c := stand(t, emulator.Options{Auth: test.auth}, Options{Keychain: auth.Keychain{Named: map[string]auth.Source{home: auth.Static(test.signIn)}}})
				account, err := c.SignIn(t.Context(), at("app"))
				if account != test.account || (err != nil) != test.refused {
					t.Errorf("SignIn = %q, %v; want %q, refused %v", account, err, test.account, test.refused)
				}
				if err != nil {
					if e := failure(t, err); e.Status != http.StatusUnauthorized || e.Temporary() {
						t.Errorf("error = %+v", e)
					}
					contains(t, err.Error(), home, "sign-in was refused")
					lacks(t, err.Error(), "wr0ng")
				}
				if n := kind(r.Gate, "", emulator.KindToken); n > 1 {
					t.Errorf("%d token requests", n)
				}
			})
		})
	}
}

// TestLongestMatch: a part of a registry may have a sign-in of its own, in the config and in the credential store.
func TestLongestMatch(t *testing.T) {
	users := map[string]string{"ann": "a", "ben": "b", "eve": "e"}
	owners := map[string]string{"app": "ann", "team/app": "ben", "team/sub/app": "eve", "teams/app": "ann"}
	permit := func(user, repository, _ string) bool { return owners[repository] == user }
	named := auth.Keychain{Named: map[string]auth.Source{}}
	for name, c := range map[string]auth.Credential{home: {Username: "ann", Password: "a"}, home + "/team": {Username: "ben", Password: "b"}, home + "/team/sub": {Username: "eve", Password: "e"}} {
		named.Named[name] = auth.Static(c)
	}
	entry := func(user, password string) string {
		return `{"auth":"` + base64.StdEncoding.EncodeToString([]byte(user+":"+password)) + `"}`
	}
	path := filepath.Join(t.TempDir(), "auth.json")
	entries := `{"auths":{"` + home + `":` + entry("ann", "a") + `,"` + home + `/team":` + entry("ben", "b") + `,"` + home + `/team/sub":` + entry("eve", "e") + `}}`
	if err := os.WriteFile(path, []byte(entries), 0o600); err != nil {
		t.Fatal(err)
	}
	store, err := auth.Load(func(name string) string { return map[string]string{"REGISTRY_AUTH_FILE": path}[name] })
	if err != nil {
		t.Fatal(err)
	}
	for name, options := range map[string]Options{"config": {Keychain: named}, "credential store": {Keychain: auth.Keychain{Store: store}}} {
		t.Run(name, func(t *testing.T) {
			r, c := stand(t, emulator.Options{Auth: &emulator.Auth{Users: users, Permit: permit}}, options)
			for repository, owner := range owners {
				push(t, r, repository, "1")
				if _, err := c.Head(t.Context(), at(repository).Tag("1")); err != nil {
					t.Errorf("%s: %v", repository, err)
				}
				if account, err := c.SignIn(t.Context(), at(repository)); err != nil || account != owner {
					t.Errorf("SignIn for %s = %q, %v; want %q", repository, account, err, owner)
				}
			}
			if got, want := c.Accounts(home), []record.Account{{Part: home, Name: "ann"}, {Part: home + "/team", Name: "ben"}, {Part: home + "/team/sub", Name: "eve"}}; !slices.Equal(got, want) {
				t.Errorf("Accounts = %v, want %v", got, want)
			}
			if got := c.Accounts(other); len(got) != 0 {
				t.Errorf("Accounts of a registry that was not asked = %v", got)
			}
		})
	}
	c := client(t, emulator.Network{}, Options{Keychain: named})
	for repository, want := range map[string]string{"app": home, "team/app": home + "/team", "team/sub/x/app": home + "/team/sub", "teams/app": home} {
		if got := c.Account(at(repository)); got != want {
			t.Errorf("Account of %s = %q, want %q", repository, got, want)
		}
	}
	if got := c.Account(image.Repository{Registry: other, Path: "x"}); got != other {
		t.Errorf("Account = %q", got)
	}
}
