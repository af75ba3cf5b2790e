package aws

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/draysync/dray/internal/image"
)

// ListedPerPage is the most tags of one request of [Client.List].
const ListedPerPage = 1000

// foundFor is how long a credential serves listings before the environment and the files are read again.
const foundFor = time.Minute

// found is a credential.
type found struct {
	cfg aws.Config
	at  time.Time
}

// List passes each tag of a repository of a private registry to each, with its digest, in at most so many requests: with more pages than that
// it ends early, with an error. The error is an [Error], that of the context, or wraps [image.ErrAbsent] if there is no such repository.
func (c *Client) List(ctx context.Context, repo image.Repository, as Identity, requests int, each func(tag, digest string)) error {
	h, ok := image.ParseECR(repo.Registry)
	if !ok || h.Public {
		return fmt.Errorf("%s is not a private registry of Amazon ECR", repo.Registry)
	}
	err := c.list(ctx, h, repo.Path, as, requests, each)
	_, absent := errors.AsType[*types.RepositoryNotFoundException](err)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case absent:
		return fmt.Errorf("list images: %w", image.ErrAbsent)
	}
	return explain(lists, err, false)
}

func (c *Client) list(ctx context.Context, h image.ECR, path string, as Identity, requests int, each func(tag, digest string)) error {
	cfg, err := c.found(ctx, h, as)
	if err != nil {
		return err
	}
	input := &ecr.ListImagesInput{
		RegistryId: aws.String(h.Account), RepositoryName: aws.String(path), MaxResults: aws.Int32(ListedPerPage),
		Filter: &types.ListImagesFilter{TagStatus: types.TagStatusTagged},
	}
	client := ecr.NewFromConfig(cfg, private(h))
	for range requests {
		page, err := client.ListImages(ctx, input)
		if err != nil {
			return err
		}
		for _, id := range page.ImageIds {
			if id.ImageTag != nil {
				each(*id.ImageTag, aws.ToString(id.ImageDigest))
			}
		}
		if aws.ToString(page.NextToken) == "" {
			return nil
		}
		if aws.ToString(page.NextToken) == aws.ToString(input.NextToken) {
			return errors.New("the answer leads to the page that it is")
		}
		input.NextToken = page.NextToken
	}
	return fmt.Errorf("there are more than %d pages", requests)
}

// found returns a credential, which is looked for at most once in a while: a run lists many repositories.
func (c *Client) found(ctx context.Context, h image.ECR, as Identity) (aws.Config, error) {
	key := keyOf(h, as)
	return c.finding.Do(ctx, key, func(ctx context.Context) (aws.Config, error) {
		c.mu.Lock()
		known := c.credentials[key]
		c.mu.Unlock()
		if time.Since(known.at) < foundFor {
			return known.cfg, nil
		}
		ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
		defer cancel()
		cfg, err := c.load(ctx, h.Region, as)
		if err != nil {
			return aws.Config{}, err
		}
		if _, err := cfg.Credentials.Retrieve(ctx); err != nil {
			return aws.Config{}, &credentialError{err}
		}
		c.mu.Lock()
		c.credentials[key] = found{cfg, time.Now()}
		c.mu.Unlock()
		return cfg, nil
	})
}
