package aws

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecrpublic"

	"github.com/draysync/dray/internal/dial"
	"github.com/draysync/dray/internal/flight"
	"github.com/draysync/dray/internal/image"
)

// Options of a [Client].
type Options struct {
	// HTTP sends all requests; nil for the SDK's client with Proxy, whose certificates AWS_CA_BUNDLE replaces.
	HTTP interface {
		Do(r *http.Request) (*http.Response, error)
	}
	// Proxy returns the proxy of a request; nil for none.
	Proxy func(*http.Request) (*url.URL, error)
}

// Identity says who asks for a token. The zero value is whom the SDK finds.
type Identity struct {
	// Profile is one of the shared config files; empty for the one that the environment names.
	Profile string
	// Role is the ARN of a role to assume, with ExternalID if that is not empty; empty for none.
	Role, ExternalID string
}

// Client gets tokens of ECR. It is safe for concurrent use.
type Client struct {
	options  Options
	fetching flight.Group[Token]
	finding  flight.Group[aws.Config]

	mu          sync.Mutex
	tokens      map[string]Token
	credentials map[string]found // of listings
}

// Token is a user and a password for the registries of a region, and for how long they last.
type Token struct {
	Username, Password string
	// Renew is when to ask for the next one.
	Renew time.Time

	born, ends time.Time // by this machine's clock
}

const (
	// fetchTimeout limits everything that is done for a token: the search for a credential, roles to assume, retries.
	fetchTimeout = time.Minute
	// requestTimeout limits one request.
	requestTimeout = 20 * time.Second
	// freshFor is how long a token serves all who ask. Whoever asks later and before Renew was refused with it.
	freshFor = time.Minute
	// retryAfter is the pause before the next attempt to replace a token that is still valid.
	retryAfter = time.Minute
)

// New returns a client. It sends no request and reads no file.
func New(o Options) *Client {
	if o.HTTP == nil {
		o.HTTP = awshttp.NewBuildableClient().WithTimeout(requestTimeout).WithTransportOptions(func(t *http.Transport) {
			t.Proxy = o.direct
			dial.Use(t)
		})
	}
	return &Client{options: o, tokens: map[string]Token{}, credentials: map[string]found{}}
}

// metadataAddresses are those of containers and instances that have IPv6 only.
var metadataAddresses = netip.MustParsePrefix("fd00:ec2::/32")

// direct returns the proxy of a request; none for a credential of this machine, which is nothing for a proxy.
func (o Options) direct(r *http.Request) (*url.URL, error) {
	address, err := netip.ParseAddr(r.URL.Hostname())
	if o.Proxy == nil || err == nil && (address.IsLinkLocalUnicast() || metadataAddresses.Contains(address)) {
		return nil, nil //nolint:nilnil // none
	}
	return o.Proxy(r)
}

// Token returns a token for a registry, fetched once for all who wait for one of the same region and identity. After a failure the last one is
// returned while it is valid. The error is an [Error], or that of the context.
func (c *Client) Token(ctx context.Context, registry string, as Identity) (Token, error) {
	h, ok := image.ParseECR(registry)
	if !ok {
		return Token{}, fmt.Errorf("%s is not a host of Amazon ECR", registry)
	}
	key := keyOf(h, as)
	known, fresh := c.known(key)
	if fresh {
		return known, nil
	}
	got, err := c.fetching.Do(ctx, key, func(ctx context.Context) (Token, error) {
		if known, fresh := c.known(key); fresh { // it came while this flight began
			return known, nil
		}
		got, err := c.fetch(ctx, h, as)
		if err == nil {
			c.mu.Lock()
			c.tokens[key] = got
			c.mu.Unlock()
		}
		return got, err
	})
	if now := time.Now(); err != nil && ctx.Err() == nil && now.Before(known.ends) {
		known.Renew = now.Add(retryAfter)
		return known, nil
	}
	return got, err
}

// keyOf returns what tokens are kept by: one serves the registries of all accounts.
func keyOf(h image.ECR, as Identity) string {
	h.Account = ""
	return fmt.Sprintf("%v %q %q %q", h, as.Profile, as.Role, as.ExternalID)
}

func (c *Client) known(key string) (known Token, fresh bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known = c.tokens[key]
	now := time.Now()
	return known, now.Before(known.born.Add(freshFor)) && now.Before(known.Renew)
}

// fetch asks ECR for a token. It reads the environment and the files anew each time: tokens last for hours.
func (c *Client) fetch(ctx context.Context, h image.ECR, as Identity) (Token, error) {
	limited, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	got, err := c.ask(limited, h, as)
	if err != nil && ctx.Err() != nil {
		return Token{}, context.Cause(ctx)
	}
	if err != nil {
		return Token{}, explain(signsIn, err, limited.Err() != nil)
	}
	return got, nil
}

func (c *Client) ask(ctx context.Context, h image.ECR, as Identity) (Token, error) {
	cfg, err := c.load(ctx, h.Region, as)
	if err != nil {
		return Token{}, err
	}
	if _, err := cfg.Credentials.Retrieve(ctx); err != nil {
		return Token{}, &credentialError{err}
	}
	if h.Public {
		answer, err := ecrpublic.NewFromConfig(cfg, func(o *ecrpublic.Options) {
			o.Region = h.Region
			if h.DualStack {
				o.EndpointOptions.UseDualStackEndpoint = aws.DualStackEndpointStateEnabled
			}
		}).GetAuthorizationToken(ctx, &ecrpublic.GetAuthorizationTokenInput{})
		if err != nil {
			return Token{}, err
		}
		if answer.AuthorizationData == nil {
			return Token{}, errNoToken
		}
		return decode(answer.AuthorizationData.AuthorizationToken, answer.AuthorizationData.ExpiresAt)
	}
	answer, err := ecr.NewFromConfig(cfg, private(h)).GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return Token{}, err
	}
	if len(answer.AuthorizationData) == 0 {
		return Token{}, errNoToken
	}
	return decode(answer.AuthorizationData[0].AuthorizationToken, answer.AuthorizationData[0].ExpiresAt)
}

// private returns the options of a client for the API of a private registry.
func private(h image.ECR) func(o *ecr.Options) {
	return func(o *ecr.Options) {
		o.Region = h.Region
		if h.FIPS {
			o.EndpointOptions.UseFIPSEndpoint = aws.FIPSEndpointStateEnabled
		}
		if h.DualStack {
			o.EndpointOptions.UseDualStackEndpoint = aws.DualStackEndpointStateEnabled
		}
	}
}

var errNoToken = errors.New("the answer has no token")

// usualLife is the lifetime of a token whose expiry is unknown or not in the future of this machine's clock.
const usualLife = 12 * time.Hour

// decode reads an authorization token: user:password in base64.
func decode(text *string, expires *time.Time) (Token, error) {
	raw, err := base64.StdEncoding.DecodeString(aws.ToString(text))
	user, password, ok := strings.Cut(string(raw), ":")
	if err != nil || !ok || user == "" || password == "" {
		return Token{}, errNoToken
	}
	now := time.Now()
	life := usualLife
	if left := aws.ToTime(expires).Sub(now); left > 0 && left < usualLife {
		life = left
	}
	return Token{Username: user, Password: password, Renew: now.Add(life / 2), born: now, ends: now.Add(life * 19 / 20)}, nil
}
