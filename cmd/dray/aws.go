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
