package aws

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/draysync/dray/internal/image"
)

// Repository has the settings of a repository that is created.
type Repository struct {
	// Tags are of the form KEY=VALUE.
	Tags []string
	// Immutable has ECR refuse to move tags.
	Immutable bool
	// Encryption is AES256, KMS or KMS_DSSE, or the ARN of a key of KMS; empty for ECR's default.
	Encryption string
	// Lifecycle is a lifecycle policy in JSON; empty for none.
	Lifecycle string
}

// Create creates a repository of a private registry. The caller has just heard that it does not exist: if it does now, another process has
// created it, or an answer was lost, and it gets the lifecycle policy all the same. The error is an [Error], or that of the context.
func (c *Client) Create(ctx context.Context, registry, path string, as Identity, r Repository) error {
	h, ok := image.ParseECR(registry)
	if !ok || h.Public {
		return fmt.Errorf("%s is not a private registry of Amazon ECR", registry)
	}
	limited, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	err := c.create(limited, h, path, as, r)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return explain(creates, err, limited.Err() != nil)
}

func (c *Client) create(ctx context.Context, h image.ECR, path string, as Identity, r Repository) error {
	cfg, err := c.load(ctx, h.Region, as)
	if err != nil {
		return err
	}
	if _, err := cfg.Credentials.Retrieve(ctx); err != nil {
		return &credentialError{err}
	}
	client := ecr.NewFromConfig(cfg, private(h))
	input := &ecr.CreateRepositoryInput{RepositoryName: aws.String(path), RegistryId: aws.String(h.Account), EncryptionConfiguration: encryption(r.Encryption)}
	if r.Immutable {
		input.ImageTagMutability = types.ImageTagMutabilityImmutable
	}
	for _, tag := range r.Tags {
		key, value, _ := strings.Cut(tag, "=")
		input.Tags = append(input.Tags, types.Tag{Key: aws.String(key), Value: aws.String(value)})
	}
	_, err = client.CreateRepository(ctx, input)
	if _, exists := errors.AsType[*types.RepositoryAlreadyExistsException](err); err != nil && !exists {
		return err
	}
	if r.Lifecycle == "" {
		return nil
	}
	_, err = client.PutLifecyclePolicy(ctx, &ecr.PutLifecyclePolicyInput{
		RepositoryName: aws.String(path), RegistryId: aws.String(h.Account), LifecyclePolicyText: aws.String(r.Lifecycle),
	})
	return err
}

// encryption returns the configuration for a kind of encryption, or for a key.
func encryption(kind string) *types.EncryptionConfiguration {
	switch {
	case kind == "":
		return nil
	case strings.HasPrefix(kind, "arn:"):
		return &types.EncryptionConfiguration{EncryptionType: types.EncryptionTypeKms, KmsKey: aws.String(kind)}
	}
	return &types.EncryptionConfiguration{EncryptionType: types.EncryptionType(kind)}
}
