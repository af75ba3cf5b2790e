package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/draysync/dray/internal/auth"
	"github.com/draysync/dray/internal/image"
)

// Held is Head at a target. It asks for the rights to push, which an import will need: some registries only tell those who may push that a
// repository does not exist. Others do not answer 404 even then: Quay lets no account read what it could create, Artifactory's virtual
// repositories deny, and some do not know the request, or answer it with a status of their own. The error then wraps image.ErrHidden.
func (c *Client) Held(ctx context.Context, r image.Reference) (image.Descriptor, error) {
	if r.IsLayout() {
		return c.layouts.Head(r)
	}
	e := c.endpoint(r.Repository)
	d, err := e.headManifest(ctx, r, auth.Push(r.Path), false)
	if refusesRights(err) {
		d, err = e.headManifest(ctx, r, auth.Pull(r.Path), false) // for token servers that grant all rights or none
	}
	if err == nil && d.Digest == "" || refusesHead(err) {
		d, err = c.headByGet(ctx, r, nil)
	}
	return d, c.hidden(ctx, r.Repository, err)
}

// refusesRights reports whether a token server refuses the requested rights. It may also grant fewer.
func refusesRights(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.OfToken() && (e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden)
}

// hidden marks the error of a question to a target as image.ErrHidden if the answer leaves open whether the object exists. A 401 does so
// only if the account can sign in.
func (c *Client) hidden(ctx context.Context, repo image.Repository, err error) error {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Operation != headManifest && e.Operation != getManifest && e.Operation != headBlob {
		return err
	}
	switch {
	case errors.Is(err, image.ErrAbsent):
		return err
	case e.Status == http.StatusForbidden, e.Status == http.StatusBadRequest, evades(e):
	case e.Status == http.StatusUnauthorized && c.canSignIn(ctx, repo):
	default:
		return err
	}
	return fmt.Errorf("%w: %w", image.ErrHidden, err)
}

// canSignIn reports whether the account configured for a repository can sign in. All callers share one answer for a minute.
func (c *Client) canSignIn(ctx context.Context, repo image.Repository) bool {
	e := c.endpoint(repo)
	can, err := e.signing.Do(ctx, "", func(ctx context.Context) (bool, error) {
		if can, ok := e.signsIn.Get(struct{}{}); ok {
			return can, nil
		}
		account, err := c.SignIn(ctx, repo)
		e.signsIn.Put(struct{}{}, err == nil && account != "", recentFor)
		return err == nil && account != "", nil
	})
	return err == nil && can
}
