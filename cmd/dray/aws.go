package main

import (
	"context"
	"errors"
	"time"

	"github.com/draysync/dray/internal/auth"
	"github.com/draysync/dray/internal/aws"
	"github.com/draysync/dray/internal/image"
)

// isECR reports whether a registry is a host of Amazon ECR or of ECR Public.
func isECR(registry string) bool {
	_, ok := image.ParseECR(registry)
	return ok
}

// isPrivateECR reports whether a registry is a private one of Amazon ECR: what reads it needs a credential.
func isPrivateECR(registry string) bool {
	ecr, ok := image.ParseECR(registry)
	return ok && !ecr.Public
}

// awsSource is the [auth.Source] of registries that the config has signed in to through AWS, as an identity.
func awsSource(client *aws.Client, as aws.Identity) auth.Source {
	return func(ctx context.Context, repo image.Repository) (auth.Credential, time.Time, error) {
		token, err := client.Token(ctx, repo.Registry, as)
		if err != nil {
			return auth.Credential{}, time.Time{}, err //nolint:wrapcheck // it says what was done
		}
		return auth.Credential{Username: token.Username, Password: token.Password}, token.Renew, nil
	}
}

// awsImplied is the [auth.Source] of ECR hosts that the config does not name, with the credential that AWS's SDK finds. ECR Public can be read
// by anybody, and a mirror may stand in for a private registry: where there is no credential, requests are anonymous for a while.
func awsImplied(client *aws.Client, store *auth.Store) auth.Source {
	source := awsSource(client, aws.Identity{})
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
		ecr, _ := image.ParseECR(repo.Registry)
		refused, ok := errors.AsType[*aws.Error](err)
		if !ok || refused.Temporary() && !ecr.Public {
			return auth.Credential{}, time.Time{}, err
		}
		until := time.Now().Add(signInAgain)
		if refused.None {
			stored.Hint = refused.Hint() + "; or use docker login"
			return stored, until, nil
		}
		if refused.Temporary() {
			until = time.Now().Add(signInSoon)
		}
		stored.Lacking = "AWS gave none: " + refused.Error()
		return stored, until, nil
	}
}

// makers returns what creates the repositories of each registry for which the config says so.
func (r reach) makers(client *aws.Client) map[string]func(context.Context, image.Repository) error {
	all := map[string]func(context.Context, image.Repository) error{}
	for host, settings := range r.create {
		all[host] = func(ctx context.Context, repo image.Repository) error {
			return client.Create(ctx, repo.Registry, repo.Path, r.signIns[host].identity, settings)
		}
	}
	return all
}

// whoAtAWS returns as whom AWS has signed in to a registry; empty if it has not, or does not say.
func (l *links) whoAtAWS(ctx context.Context, repo image.Repository) string {
	s, named := l.reach.signIns[l.client.Account(repo)]
	if named != s.aws || !named && l.credentials.Has(repo) {
		return ""
	}
	return l.ecr.Who(ctx, repo.Registry, s.identity)
}
