package main

import (
	"context"
	"errors"
	"time"

	"github.com/draysync/dray/internal/auth"
	"github.com/draysync/dray/internal/aws"
	"github.com/draysync/dray/internal/google"
	"github.com/draysync/dray/internal/image"
)

// clouds sign in to their registries.
type clouds struct {
	azure  *azureSide
	aws    *aws.Client
	google *google.Client
}

// implied returns the [auth.Source] of registries that the config does not name; nil for those of no cloud.
func (c clouds) implied(store *auth.Store, registry string) auth.Source {
	switch {
	case c.azure.issues(registry):
		return c.azure.implied
	case isECR(registry):
		return impliedBy("AWS", store, awsSource(c.aws, aws.Identity{}), isPrivateECR(registry))
	case image.IsGoogle(registry):
		return impliedBy("Google", store, googleSource(c.google, google.Identity{}), true)
	}
	return unsigned(store, registry)
}

// impliedBy is the [auth.Source] of registries of a cloud that the config does not name, with the credential that the cloud's own programs would
// find. Some can be read by anybody, and a mirror may stand in for others: where there is no credential, requests are anonymous for a while.
// If waits is set, a failure that may pass is one of the request.
func impliedBy(cloud string, store *auth.Store, source auth.Source, waits bool) auth.Source {
	return func(ctx context.Context, repo image.Repository) (auth.Credential, time.Time, error) {
		// A credential store for all registries says only now whether it has a credential.
		stored, expires, err := store.Lookup(ctx, repo)
		if err != nil || !stored.Anonymous() {
			return stored, expires, err //nolint:wrapcheck // it is the store's
		}
		credential, expires, err := source(ctx, repo)
		if err == nil {
			return credential, expires, nil
		}
		refused, ok := errors.AsType[interface {
			error
			Hint() string
			None() bool
			Temporary() bool
		}](err)
		switch {
		case !ok, refused.Temporary() && waits:
			return auth.Credential{}, time.Time{}, err
		case refused.None():
			stored.Hint = refused.Hint() + "; or use docker login"
			return stored, time.Now().Add(signInSoon), nil
		}
		stored.Lacking = cloud + " gave none: " + refused.Error()
		if refused.Temporary() {
			return stored, time.Now().Add(signInSoon), nil
		}
		return stored, time.Now().Add(signInAgain), nil
	}
}

// who returns as whom a cloud has signed in to a registry with an account; empty if none has, or it does not say.
func (l *links) who(ctx context.Context, repo image.Repository, account string) string {
	s, named := l.reach.signIns[l.client.Account(repo)]
	switch {
	case named && !s.azure && !s.aws && !s.google, !named && l.credentials.Has(repo):
		return ""
	case account == entraAccount && l.clouds.azure != nil:
		if who := l.clouds.azure.client.Who(); who != "" {
			return entraAccount + ", " + who
		}
	case isECR(repo.Registry):
		return l.clouds.aws.Who(ctx, repo.Registry, s.identity)
	case image.IsGoogle(repo.Registry):
		return l.clouds.google.Who(ctx, s.account)
	}
	return ""
}
