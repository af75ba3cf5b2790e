package main

import (
	"strings"
	"testing"

	"github.com/draysync/dray/internal/auth"
	"github.com/draysync/dray/internal/config"
	"github.com/draysync/dray/internal/google"
	"github.com/draysync/dray/internal/image"
)

// TestNoCloudInTheOpen: the credential of a cloud is not implied where anybody on the way could read it.
func TestNoCloudInTheOpen(t *testing.T) {
	t.Parallel()
	store, err := auth.Load(func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"gcr.io", "europe-docker.pkg.dev", "111122223333.dkr.ecr.eu-west-1.amazonaws.com"} {
		for name, tt := range map[string]struct {
			entry config.Registry
			want  bool
		}{
			"TLS":        {config.Registry{}, true},
			"plain HTTP": {config.Registry{PlainHTTP: true}, false},
			"unverified": {config.Registry{TLS: config.TLS{InsecureSkipVerify: true}}, false},
		} {
			named := reachOf(map[string]config.Registry{host: tt.entry, host + "/team": {Google: &config.RegistryGoogle{CredentialsFile: "/nowhere"}}}).keychain(store, clouds{google: google.New(google.Options{Getenv: func(string) string { return "" }})})
			if _, _, err := named.Named[host+"/team"](t.Context(), image.Repository{Registry: host, Path: "team/x"}); strings.Contains(err.Error(), "without TLS") == tt.want {
				t.Errorf("%s, %s, a part of it: %v", host, name, err)
			}
			k := reachOf(map[string]config.Registry{host: tt.entry}).keychain(store, clouds{})
			if got := k.Implied(image.Repository{Registry: host, Path: "x"}) != nil; got != tt.want {
				t.Errorf("%s, %s: implied %v", host, name, got)
			}
		}
	}
}
