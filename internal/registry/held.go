package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/draysync/dray/internal/auth"
	"github.com/draysync/dray/internal/image"
)

// Held is Head at a target. It asks with the rights to push, which an import will need: some registries tell only those who may push that
// there is no such repository. Some do not answer 404 for what they lack all the same: Quay refuses to let an account read what it could
// create, Artifactory's virtual repositories deny, others do not know the request. The error then wraps image.ErrHidden.
func (c *Client) Held(ctx context.Context, r image.Reference) (image.Descriptor, error) {
	if r.IsLayout() {
		return c.layouts.Head(r)
	}
	e, err := c.endpoint(r.Repository)
	if err != nil {
		return image.Descriptor{}, err
	}
	d, err := e.headManifest(ctx, r, auth.Push(r.Path))
	if known, ok := errors.AsType[*Error](err); ok && known.Status == http.StatusUnauthorized && known.Operation != headManifest {
		d, err = e.headManifest(ctx, r, auth.Pull(r.Path)) // of a token server that gives all rights or none
	}
	if err == nil && d.Digest == "" || refusesHead(err) {
		d, err = c.headByGet(ctx, r)
	}
	return d, c.hidden(ctx, r.Repository, err)
}

// hidden marks the error of a question to a target as image.ErrHidden where the answer leaves open whether there is such a thing. A 401 does
// only where the account can sign in.
func (c *Client) hidden(ctx context.Context, repo image.Repository, err error) error {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Operation != headManifest && e.Operation != getManifest && e.Operation != headBlob {
		return err
	}
	switch e.Status {
	case http.StatusForbidden, http.StatusBadRequest, http.StatusMethodNotAllowed:
	case http.StatusUnauthorized:
		account, signInErr := c.SignIn(ctx, repo)
		if signInErr != nil || account == "" {
			return err
		}
	default:
		return err
	}
	return fmt.Errorf("%w: %w", image.ErrHidden, err)
}
