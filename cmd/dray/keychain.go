package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/draysync/dray/internal/auth"
	"github.com/draysync/dray/internal/aws"
	"github.com/draysync/dray/internal/azure"
	"github.com/draysync/dray/internal/config"
	"github.com/draysync/dray/internal/google"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/registry"
)

// reach is a config's settings for connecting and signing in to registries. Two reaches can be compared.
type reach struct {
	hosts   map[string]registry.Host
	mirrors map[string][]string
	// byHead are the registries whose listings are not used.
	byHead map[string]bool
	// byHub uses the listings of Docker Hub's own API.
	byHub   bool
	signIns map[string]signIn
	// create has the settings of the repositories that are created, by ECR host.
	create map[string]aws.Repository
}

// signIn says how to sign in to a registry, or to a part of one.
type signIn struct {
	credential auth.Credential
	helper     string
	azure      bool
	aws        bool
	identity   aws.Identity
	google     bool
	account    google.Identity
	// robot is the name of a robot account of Quay, tokenFile where its token is.
	robot, tokenFile string
}

func reachOf(registries map[string]config.Registry) reach {
	r := reach{hosts: map[string]registry.Host{}, mirrors: map[string][]string{}, byHead: map[string]bool{}, signIns: map[string]signIn{}, create: map[string]aws.Repository{}}
	for key, entry := range registries {
		if !strings.Contains(key, "/") {
			r.hosts[key] = registry.Host{
				CAFile: entry.TLS.CAFile, CertFile: entry.TLS.CertFile, KeyFile: entry.TLS.KeyFile, InsecureSkipVerify: entry.TLS.InsecureSkipVerify,
				PlainHTTP: entry.PlainHTTP, Concurrency: entry.Concurrency,
			}
			r.mirrors[key] = entry.Mirrors
			if entry.ByHead {
				r.byHead[key] = true
			}
			r.byHub = r.byHub || entry.ByHub
		}
		s := signIn{
			credential: auth.Credential{Username: entry.Username, Password: entry.Password.Reveal(), IdentityToken: entry.IdentityToken.Reveal()},
			helper:     entry.CredentialHelper, azure: entry.Azure != nil,
		}
		if a := entry.AWS; a != nil {
			s.aws, s.identity = true, aws.Identity{Profile: a.Profile, Role: a.Role, ExternalID: a.ExternalID}
			if a.Create != nil {
				r.create[key] = aws.Repository(*a.Create)
			}
		}
		if g := entry.Google; g != nil {
			s.google, s.account = true, google.Identity{File: g.CredentialsFile, Impersonate: g.Impersonate}
		}
		if q := entry.Quay; q != nil {
			s.robot, s.tokenFile = q.Robot, q.TokenFile
		}
		if s != (signIn{}) || entry.Anonymous {
			r.signIns[key] = s
		}
	}
	return r
}

// keychain finds credentials: in the config, else in the credential store, else, for a registry of Azure, AWS or Google, through its cloud.
func (r reach) keychain(store *auth.Store, c clouds) auth.Keychain {
	k := auth.Keychain{Named: map[string]auth.Source{}, Store: store}
	k.Implied = func(repo image.Repository) auth.Source {
		if r.open(repo.Registry) {
			return nil // a cloud's token opens more than a registry, and anybody on the way could read it
		}
		return c.implied(store, repo.Registry)
	}
	for key, s := range r.signIns {
		switch {
		case s.azure:
			k.Named[key] = c.azure.credential
		case s.aws:
			k.Named[key] = awsSource(c.aws, s.identity)
		case (s.google || s.robot != "") && r.open(key):
			k.Named[key] = func(context.Context, image.Repository) (auth.Credential, time.Time, error) {
				return auth.Credential{}, time.Time{}, fmt.Errorf("registries.%s: the registry is used without TLS, or without verifying it, so anybody on the way could read the credential", key)
			}
		case s.google:
			k.Named[key] = googleSource(c.google, s.account)
		case s.robot != "":
			k.Named[key] = auth.Robot(s.robot, s.tokenFile)
		case s.helper != "":
			k.Named[key] = auth.Helper(s.helper)
		case s.credential.Username == "" && s.credential.Password != "" && c.azure != nil:
			k.Named[key] = c.azure.traded(s.credential.Password)
		default:
			k.Named[key] = auth.Static(s.credential)
		}
	}
	return k
}

// open reports whether the registry of a key, which is a host or host/path, is used without TLS, or without verifying who it is.
func (r reach) open(key string) bool {
	host, _, _ := strings.Cut(key, "/")
	return r.hosts[host].PlainHTTP || r.hosts[host].InsecureSkipVerify
}

// entraAccount is the displayed account of a registry with a sign-in through Entra.
const entraAccount = "Entra ID"

// credential is the [auth.Source] of registries with a sign-in through Entra.
func (s *azureSide) credential(ctx context.Context, repo image.Repository) (auth.Credential, time.Time, error) {
	token, expires, err := s.client.RegistryToken(ctx, repo.Registry)
	if err != nil {
		return auth.Credential{}, time.Time{}, err //nolint:wrapcheck // it says what was done
	}
	return auth.Credential{Username: entraAccount, IdentityToken: token}, expires, nil
}

// traded is the [auth.Source] of Azure registries for which the user has passed an Entra token.
func (s *azureSide) traded(entra string) auth.Source {
	return func(ctx context.Context, repo image.Repository) (auth.Credential, time.Time, error) {
		token, expires, err := s.client.Trade(ctx, repo.Registry, entra)
		if err != nil {
			return auth.Credential{}, time.Time{}, err //nolint:wrapcheck // it says what was done
		}
		return auth.Credential{Username: entraAccount, IdentityToken: token}, expires, nil
	}
}

// issues reports whether a registry belongs to the cloud that the config can sign in to.
func (s *azureSide) issues(registry string) bool {
	if s == nil {
		return false
	}
	_, ok := s.cloud.LoginServer(registry)
	return ok
}

// implied is the [auth.Source] of Azure registries that the config does not name. They may be someone else's and allow anonymous pulls: if
// no token is available, requests are anonymous for a while.
func (s *azureSide) implied(ctx context.Context, repo image.Repository) (auth.Credential, time.Time, error) {
	for _, at := range []string{forRegistries, repo.Registry} {
		if r := s.refusal(at); r.err != nil && !passing(r.err) {
			return r.nobody()
		}
	}
	credential, expires, err := s.credential(ctx, repo)
	if err == nil || ctx.Err() != nil || passing(err) {
		return credential, expires, err
	}
	if _, entra := errors.AsType[*azure.SignInError](err); entra {
		return s.refuse(forRegistries, err).nobody()
	}
	return s.refuse(repo.Registry, err).nobody()
}

// nobody returns an anonymous credential, valid as long as the refusal is kept.
func (r refusal) nobody() (auth.Credential, time.Time, error) {
	return auth.Credential{Lacking: "Entra gave none: " + r.err.Error()}, r.until, nil
}

// unsigned is the [auth.Source] of Azure registries if the config does not say how to sign in to Azure; nil for others.
func unsigned(store *auth.Store, registry string) auth.Source {
	hint := ""
	for _, name := range azure.CloudNames() {
		cloud, _ := azure.CloudNamed(name)
		if _, ok := cloud.LoginServer(registry); !ok {
			continue
		}
		hint = "write registries." + registry + ": {azure: {}} to sign in through Entra"
		if name != azure.PublicCloud {
			hint += ", and azure: {cloud: " + name + "}"
		}
		hint += "; or a username and a password there, or use docker login"
	}
	if hint == "" {
		return nil
	}
	return func(ctx context.Context, repo image.Repository) (auth.Credential, time.Time, error) {
		credential, expires, err := store.Lookup(ctx, repo)
		if credential.Anonymous() {
			credential.Hint = hint
		}
		return credential, expires, err //nolint:wrapcheck // it is the store's
	}
}
