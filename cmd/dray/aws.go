package main

import (
	"context"
	"errors"
	"time"

	"github.com/draysync/dray/internal/auth"
	"github.com/draysync/dray/internal/aws"
	"github.com/draysync/dray/internal/image"
)

// awsImplied is the [auth.Source] of ECR hosts that the config does not name, with the credential that AWS's SDK finds. ECR Public can be read
// by anybody, and a mirror may stand in for a private registry: where there is no credential, requests are anonymous for a while.
func awsImplied(client *aws.Client, store *auth.Store) auth.Source {
	return func(ctx context.Context, repo image.Repository) (auth.Credential, time.Time, error) {
		// A credential store for all registries says only now whether it has a credential.
		stored, expires, err := store.Lookup(ctx, repo)
		if err != nil || !stored.Anonymous() {
			return stored, expires, err //nolint:wrapcheck // it is the store's
		}
		token, err := client.Token(ctx, repo.Registry)
		if err == nil {
			return auth.Credential{Username: token.Username, Password: token.Password}, token.Renew, nil
		}
		refused, ok := errors.AsType[*aws.SignInError](err)
		if !ok || refused.Temporary() && !aws.Public(repo.Registry) {
			return auth.Credential{}, time.Time{}, err //nolint:wrapcheck // it says what was done
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
