package aws

import (
	"context"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/logging"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/draysync/dray/internal/switching"
)

const (
	// attempts and maxBackoff limit the retries of a request that is throttled or fails for a while.
	attempts   = 6
	maxBackoff = 8 * time.Second
	// metadataTimeout limits the search for the role of an instance: outside a cloud nothing may answer.
	metadataTimeout = 2 * time.Second
	// maxBody limits an answer, in bytes.
	maxBody = 1 << 20
)

// session is the name of the sessions of assumed roles, which AWS's logs show.
const session = "dray"

// load finds a credential as the SDK does. The region is that of STS where the user sets none.
func (c *Client) load(ctx context.Context, region string, as Identity) (aws.Config, error) {
	options := []func(*config.LoadOptions) error{
		config.WithHTTPClient(c.options.HTTP),
		config.WithDefaultRegion(region),
		config.WithLogger(logging.Nop{}),
		config.WithAPIOptions([]func(*middleware.Stack) error{bound}),
		config.WithRetryer(func() aws.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts, o.MaxBackoff = attempts, maxBackoff })
		}),
		config.WithEndpointCredentialOptions(func(o *endpointcreds.Options) { o.HTTPClient = c.options.HTTP }),
	}
	if as.Profile != "" {
		options = append(options, config.WithSharedConfigProfile(as.Profile))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return aws.Config{}, &credentialError{err}
	}
	if aws.IsCredentialsProvider(cfg.Credentials, (*ec2rolecreds.Provider)(nil)) {
		client := imds.NewFromConfig(cfg, func(o *imds.Options) { o.EnableFallback = aws.FalseTernary }) // IMDSv2 only
		cfg.Credentials = aws.NewCredentialsCache(instance{ec2rolecreds.New(func(o *ec2rolecreds.Options) { o.Client = client })})
	}
	if as.Role != "" {
		cfg.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), as.Role, func(o *stscreds.AssumeRoleOptions) {
			o.RoleSessionName = session
			if as.ExternalID != "" {
				o.ExternalID = aws.String(as.ExternalID)
			}
		}))
	}
	return cfg, nil
}

// instance is the role of an instance, the last place where the SDK looks.
type instance struct{ role *ec2rolecreds.Provider }

// Retrieve implements aws.CredentialsProvider.
func (i instance) Retrieve(ctx context.Context) (aws.Credentials, error) {
	ctx, cancel := context.WithTimeout(ctx, metadataTimeout)
	defer cancel()
	got, err := i.role.Retrieve(ctx)
	if err != nil {
		return aws.Credentials{}, &metadataError{err}
	}
	return got, nil
}

// bound limits what is read of an answer, and refuses one without an end.
func bound(stack *middleware.Stack) error {
	return stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("bound", func(
		ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler,
	) (middleware.DeserializeOutput, middleware.Metadata, error) {
		out, metadata, err := next.HandleDeserialize(ctx, in)
		if response, ok := out.RawResponse.(*smithyhttp.Response); ok && response.Body != nil {
			if _, refused := switching.Refused(response.Response, nil); refused != nil { //nolint:bodyclose // the SDK does
				return out, metadata, refused
			}
			response.Body = bounded{io.LimitReader(response.Body, maxBody), response.Body}
		}
		return out, metadata, err
	}), middleware.After)
}

// bounded is a body with a limit on how much is read.
type bounded struct {
	io.Reader
	io.Closer
}
