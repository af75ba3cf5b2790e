package aws

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/draysync/dray/internal/image"
)

// whoTimeout limits the question who one is: in a closed network there may be no STS.
const whoTimeout = 10 * time.Second

// Who returns the ARN of the user or the session that has got a token for a registry; empty if there is no token, or STS does not say.
func (c *Client) Who(ctx context.Context, registry string, as Identity) string {
	h, ok := image.ParseECR(registry)
	if known, _ := c.known(keyOf(h, as)); !ok || known.Password == "" {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, whoTimeout)
	defer cancel()
	cfg, err := c.load(ctx, h.Region, as)
	if err != nil {
		return ""
	}
	answer, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return ""
	}
	return plain(aws.ToString(answer.Arn))
}
