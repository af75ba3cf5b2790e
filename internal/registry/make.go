package registry

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/draysync/dray/internal/backoff"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/wire"
)

// noRepository returns the refusal of a registry to start an upload since there is no such repository (OCI distribution spec, "Error Codes").
func noRepository(err error) (refusal *Error, ok bool) {
	e, ok := errors.AsType[*Error](err)
	return e, ok && e.Operation == postUpload && e.Status == http.StatusNotFound && e.ErrorCode == "NAME_UNKNOWN"
}

// makeRepository makes a repository, once for all uploads into it. For a while after that, whether it was made or not, it does nothing.
func (c *Client) makeRepository(ctx context.Context, repo image.Repository) error {
	_, err := c.making.Do(ctx, repo.String(), func(ctx context.Context) (struct{}, error) {
		if err, known := c.made.Get(repo); known {
			return struct{}{}, err
		}
		err := c.options.Make[repo.Registry](ctx, repo)
		if ctx.Err() == nil { // otherwise the callers just left
			c.made.Put(repo, err, recentFor)
		}
		if err == nil {
			c.options.Log.LogAttrs(ctx, slog.LevelInfo, "repository created", slog.String("target", repo.String()))
		}
		return struct{}{}, err
	})
	return err
}

// startsAfterMaking is how often an upload is started in a repository that was just made, with growing pauses: it may take a moment until the
// registry knows it.
const startsAfterMaking = 5

// start starts the upload, and makes the repository before that if it does not exist and is to be made.
func (u *upload) start(ctx context.Context) (done bool, err error) {
	done, err = u.startOnce(ctx)
	refusal, missing := noRepository(err)
	switch {
	case !missing:
		return done, err
	case u.make == nil:
		return false, u.leftAlone(refusal)
	}
	if failure := u.make(ctx); failure != nil {
		return false, notMade(refusal, failure)
	}
	for i := range startsAfterMaking {
		if err := backoff.Sleep(ctx, time.Duration(i)*time.Second); err != nil {
			return false, err
		}
		done, err = u.startOnce(ctx)
		if _, missing := noRepository(err); !missing {
			break
		}
	}
	return done, err
}

// leftAlone adds to a refusal what the user can do about it, where repositories have to be made before the first upload.
func (u *upload) leftAlone(refusal *Error) error {
	ecr, ok := image.ParseECR(u.registry)
	if !ok || ecr.Public {
		return refusal
	}
	with := *refusal
	with.Hint = "create the repository, or set registries." + u.registry + ": {aws: {createRepositories: true}}"
	return &with
}

// notMade adds to a refusal why the repository could not be made.
func notMade(refusal *Error, failure error) error {
	with := *refusal
	with.Hint = wire.Clean(failure.Error())
	passing, ok := errors.AsType[interface {
		error
		Temporary() bool
	}](failure)
	with.Again = ok && passing.Temporary()
	return &with
}
