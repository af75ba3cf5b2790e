package registry

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/image"
)

func TestSignIn(t *testing.T) {
	users := map[string]string{"ann": "secret"}
	cases := []struct {
		name    string
		auth    *emulator.Auth
		host    Host
		account string
		refused bool
	}{
		{"open", nil, Host{}, "", false},
		{"anonymous", &emulator.Auth{AnonymousPull: true}, Host{}, "", false},
		{"anonymous where that is not allowed", &emulator.Auth{Users: users}, Host{}, "", true},
		{"bearer", &emulator.Auth{Users: users}, Host{Username: "ann", Password: "secret"}, "ann", false},
		{"basic", &emulator.Auth{Users: users, Basic: true}, Host{Username: "ann", Password: "secret"}, "ann", false},
		{"bearer, wrong", &emulator.Auth{Users: users}, Host{Username: "ann", Password: "wr0ng"}, "ann", true},
		{"anonymous by the config", &emulator.Auth{Users: users}, Host{Anonymous: true}, "", true},
		{"basic, wrong", &emulator.Auth{Users: users, Basic: true}, Host{Username: "ann", Password: "wr0ng"}, "ann", true},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r, c := stand(t, emulator.Options{Auth: test.auth}, Options{Hosts: map[string]Host{home: test.host}})
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
	hosts := map[string]Host{home: {Username: "ann", Password: "a"}, home + "/team": {Username: "ben", Password: "b"}, home + "/team/sub": {Username: "eve", Password: "e"}}
	path := filepath.Join(t.TempDir(), "auth.json")
	entries := `{"auths":{"` + home + `":` + auth("ann", "a") + `,"` + home + `/team":` + auth("ben", "b") + `,"` + home + `/team/sub":` + auth("eve", "e") + `}}`
	if err := os.WriteFile(path, []byte(entries), 0o600); err != nil {
		t.Fatal(err)
	}
	store, err := LoadCredentials(func(name string) string { return map[string]string{"REGISTRY_AUTH_FILE": path}[name] })
	if err != nil {
		t.Fatal(err)
	}
	for name, options := range map[string]Options{"config": {Hosts: hosts}, "credential store": {Credentials: store}} {
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
		})
	}
	c := client(t, emulator.Network{}, Options{Hosts: hosts})
	for repository, want := range map[string]string{"app": home, "team/app": home + "/team", "team/sub/x/app": home + "/team/sub", "teams/app": home} {
		if got := c.Account(at(repository)); got != want {
			t.Errorf("Account of %s = %q, want %q", repository, got, want)
		}
	}
	if got := c.Account(image.Repository{Registry: other, Path: "x"}); got != other {
		t.Errorf("Account = %q", got)
	}
}
