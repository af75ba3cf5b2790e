package main

import (
	"context"
	"time"

	"github.com/draysync/dray/internal/auth"
	"github.com/draysync/dray/internal/google"
	"github.com/draysync/dray/internal/image"
)

// googleSource is the [auth.Source] of Google's registries, as an identity.
func googleSource(client *google.Client, as google.Identity) auth.Source {
	return func(ctx context.Context, _ image.Repository) (auth.Credential, time.Time, error) {
		token, err := client.Token(ctx, as)
		if err != nil {
			return auth.Credential{}, time.Time{}, err //nolint:wrapcheck // it says what was done
		}
		return auth.Credential{Username: token.Username, Password: token.Password}, token.Renew, nil
	}
}
