package main

import (
	"context"
	"strings"
	"time"

	"github.com/draysync/dray/internal/auth"
	"github.com/draysync/dray/internal/config"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/registry"
)

// reach is what a config says of registries: how to connect to them, and how to sign in. Two of them can be compared.
type reach struct {
	hosts   map[string]registry.Host
	mirrors map[string][]string
	signIns map[string]signIn
}

// signIn is how to sign in to a registry, or to a part of one.
type signIn struct {
	credential auth.Credential
	helper     string
	azure      bool
}

func reachOf(registries map[string]config.Registry) reach {
	r := reach{hosts: map[string]registry.Host{}, mirrors: map[string][]string{}, signIns: map[string]signIn{}}
	for key, entry := range registries {
		if !strings.Contains(key, "/") {
			r.hosts[key] = registry.Host{
				CAFile: entry.TLS.CAFile, CertFile: entry.TLS.CertFile, KeyFile: entry.TLS.KeyFile, InsecureSkipVerify: entry.TLS.InsecureSkipVerify,
				PlainHTTP: entry.PlainHTTP, Concurrency: entry.Concurrency,
			}
			r.mirrors[key] = entry.Mirrors
		}
		s := signIn{
			credential: auth.Credential{Username: entry.Username, Password: entry.Password.Reveal(), IdentityToken: entry.IdentityToken.Reveal()},
			helper:     entry.CredentialHelper, azure: entry.Azure != nil,
		}
		if s != (signIn{}) || entry.Anonymous {
			r.signIns[key] = s
		}
	}
	return r
}

// keychain finds credentials: by the config, and else in the store.
func (r reach) keychain(store *auth.Store, azure *azureSide) auth.Keychain {
	k := auth.Keychain{Named: map[string]auth.Source{}, Store: store}
	for key, s := range r.signIns {
		switch {
		case s.azure:
			k.Named[key] = azure.credential
		case s.helper != "":
			k.Named[key] = auth.Helper(s.helper)
		default:
			k.Named[key] = auth.Static(s.credential)
		}
	}
	return k
}

// entraAccount is what the account is called of a registry that is signed in to by a token of Entra.
const entraAccount = "Entra ID"

// credential is the [auth.Source] of registries that are signed in to through Entra.
func (s *azureSide) credential(ctx context.Context, repo image.Repository) (auth.Credential, time.Time, error) {
	token, expires, err := s.client.RegistryToken(ctx, repo.Registry)
	if err != nil {
		return auth.Credential{}, time.Time{}, err //nolint:wrapcheck // it says what was done
	}
	return auth.Credential{Username: entraAccount, IdentityToken: token}, expires, nil
}
