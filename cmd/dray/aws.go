package main

import (
	"context"
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

// ecrLister returns what lists the tags of a repository of a private registry of Amazon ECR, where dray signs in to it through AWS.
func (r reach) ecrLister(store *auth.Store, client *aws.Client) func(context.Context, image.Repository, int, func(tag, digest string)) error {
	return func(ctx context.Context, repo image.Repository, requests int, each func(tag, digest string)) error {
		named, ok := r.signIns[repo.Registry]
		if ok && !named.aws || r.open(repo.Registry) {
			return errOtherSignIn
		}
		if !ok {
			stored, _, err := store.Lookup(ctx, repo)
			switch {
			case err != nil:
				return err //nolint:wrapcheck // it is the store's
			case !stored.Anonymous():
				return errOtherSignIn
			}
		}
		return client.List(ctx, repo, named.identity, requests, each) //nolint:wrapcheck // it says what was done
	}
}

// signInError is a sign-in to ECR that is not AWS's own.
type signInError struct{}

// Error says so.
func (signInError) Error() string { return "only a sign-in through AWS can list tags with digests" }

// Temporary returns false.
func (signInError) Temporary() bool { return false }

var errOtherSignIn = signInError{}

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
