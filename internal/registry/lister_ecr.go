package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/wire"
)

// ecr is the kind of private registries of Amazon ECR: ListImages of AWS's own API, which takes a signature of AWS and lists in pages of 1,000.
const ecr = "ecr"

func ecrLister() *lister { return &lister{kind: ecr, perPage: 1000, ask: listECR} }

func listECR(ctx context.Context, c *Client, repo image.Repository, most int, each func(tag, digest string)) (items int, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, listedDeadline, fmt.Errorf("the list is not complete after %s", listedDeadline))
	defer cancel()
	err = c.options.ECR(ctx, repo, most, func(tag, digest string) {
		items++
		each(tag, digest)
	})
	if err == nil {
		return items, nil
	}
	e := &Error{Operation: getListing, Host: repo.Registry, Message: wire.Clean(err.Error()), Attempts: 1, Cause: err}
	if errors.Is(err, image.ErrAbsent) {
		e.Status, e.ErrorCode = http.StatusNotFound, "NAME_UNKNOWN"
	} else if refusal, ok := errors.AsType[interface {
		error
		Temporary() bool
	}](err); ok {
		e.Lasting = !refusal.Temporary()
	}
	return items, e
}
