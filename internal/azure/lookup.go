package azure

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"
)

// lookup is the result of looking up a registry.
type lookup struct {
	id  ResourceID
	err error
	// until is when a failure expires.
	until time.Time
}

// The API version of Resource Graph, its timeout, and the pauses before another lookup of a registry that was not found, and of one whose
// lookup failed.
const (
	graphVersion = "2022-10-01"
	graphWait    = 10 * time.Second
	missingFor   = time.Minute
	failedFor    = 10 * time.Second
)

// Find looks up a registry by its login server: in one subscription or, if that is empty, in all that this identity can see. Concurrent and
// later callers share one lookup.
func (c *Client) Find(ctx context.Context, subscription, loginServer string) (ResourceID, error) {
	key := subscription + " " + strings.ToLower(loginServer)
	if l, ok := c.known(key); ok {
		return l.id, l.err
	}
	return c.finding.Do(ctx, key, func(ctx context.Context) (ResourceID, error) {
		if l, ok := c.known(key); ok { // it was found before this flight began
			return l.id, l.err
		}
		id, err := c.find(ctx, subscription, loginServer)
		if ctx.Err() != nil {
			return id, err
		}
		l := lookup{id: id, err: err, until: time.Now().Add(failedFor)}
		if errors.Is(err, ErrNotFound) {
			l.until = time.Now().Add(missingFor)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.found[key] = l
		return id, err
	})
}

func (c *Client) known(key string) (lookup, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l, ok := c.found[key]
	return l, ok && (l.err == nil || time.Now().Before(l.until))
}

// forget drops the lookups of registries with these IDs, one of which the Resource Manager did not know: it was moved or recreated. Resource
// Graph may lag, so for a while its entries for them do not count. They are not looked up again within that time either: the Resource
// Manager may be missing the other one of two.
func (c *Client) forget(ids ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, l := range c.found {
		if l.err == nil && slices.Contains(ids, l.id.String()) && !time.Now().Before(c.gone[l.id]) {
			delete(c.found, key)
			c.gone[l.id] = time.Now().Add(goneFor)
		}
	}
}

func (c *Client) isGone(id ResourceID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Before(c.gone[id])
}

// goneFor is how long a registry counts as unknown to the Resource Manager.
const goneFor = 10 * time.Minute

// find queries Resource Graph, which covers all subscriptions, if there are several, and then each subscription, since a registry may be too
// new for Resource Graph.
func (c *Client) find(ctx context.Context, subscription, loginServer string) (ResourceID, error) {
	subscriptions := []string{subscription}
	if subscription == "" {
		var err error
		if subscriptions, err = c.subscriptions(ctx); err != nil {
			return ResourceID{}, err
		}
	}
	if len(subscriptions) > 1 {
		id, err := c.graph(ctx, loginServer)
		if err == nil && !c.isGone(id) {
			return id, nil
		}
		c.options.Log.LogAttrs(ctx, slog.LevelDebug, "the registry is not in Resource Graph; querying each subscription", slog.String("registry", loginServer), slog.Any("err", err))
	}
	var skipped []string
	var passing error
	for _, s := range subscriptions {
		id, err := c.inSubscription(ctx, s, loginServer)
		if err == nil && id != (ResourceID{}) {
			return id, nil
		}
		refused, ok := errors.AsType[*ResponseError](err)
		if err != nil && !ok {
			return ResourceID{}, fmt.Errorf("look up %s: %w", loginServer, err) // the other subscriptions are at the same host
		}
		if err != nil {
			skipped = append(skipped, fmt.Sprintf("subscription %s: %v", s, err))
			if refused.MayPass() {
				passing = cmp.Or(passing, err)
			}
			c.options.Log.LogAttrs(ctx, slog.LevelWarn, "looking up a registry without a subscription that cannot be queried", slog.String("registry", loginServer),
				slog.String("err", skipped[len(skipped)-1]))
		}
	}
	if passing != nil {
		return ResourceID{}, fmt.Errorf("look up %s: some subscriptions could not be queried: %s: %w", loginServer, strings.Join(skipped, "; "), passing)
	}
	return ResourceID{}, notFound(loginServer, len(subscriptions)-len(skipped), skipped)
}

// notFound returns an error that says where a registry was looked for.
func notFound(loginServer string, asked int, skipped []string) error {
	text := ""
	if len(skipped) > 0 {
		text = fmt.Sprintf("; could not query %s", strings.Join(skipped, "; "))
	}
	return fmt.Errorf("no registry with the login server %s in %d subscriptions that this identity can read: it may lack the right Microsoft.ContainerRegistry/registries/read, "+
		"or write registries.%s.azure.resourceID%s: %w", loginServer, asked, loginServer, text, ErrNotFound)
}

// inSubscription searches one subscription.
func (c *Client) inSubscription(ctx context.Context, subscription, loginServer string) (found ResourceID, err error) {
	err = list(ctx, c, c.url("/subscriptions/"+subscription+"/providers/Microsoft.ContainerRegistry/registries", apiVersion), func(doc registryDoc) bool {
		r, err := doc.registry()
		if err == nil && strings.EqualFold(r.LoginServer, loginServer) {
			found = r.ID
		}
		return found != ResourceID{}
	})
	return found, err
}

// graph queries Resource Graph.
func (c *Client) graph(ctx context.Context, loginServer string) (ResourceID, error) {
	if !registryHost.MatchString(loginServer) { // it becomes part of the query
		return ResourceID{}, ErrNotFound
	}
	body, err := json.Marshal(map[string]any{
		"query": "resources | where type =~ 'microsoft.containerregistry/registries' | where properties.loginServer =~ '" + loginServer + "' " +
			"| project id, loginServer = properties.loginServer",
		"options": map[string]string{"resultFormat": "objectArray"},
	})
	if err != nil {
		return ResourceID{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, graphWait)
	defer cancel()
	a, err := c.do(ctx, http.MethodPost, c.url("/providers/Microsoft.ResourceGraph/resources", graphVersion), body, nil)
	if err != nil {
		return ResourceID{}, err
	}
	var answer struct {
		Data []struct {
			ID          string `json:"id"`
			LoginServer string `json:"loginServer"`
		} `json:"data"`
	}
	if err := json.Unmarshal(a.body, &answer); err != nil {
		return ResourceID{}, err
	}
	for _, row := range answer.Data {
		if strings.EqualFold(row.LoginServer, loginServer) {
			return ParseResourceID(row.ID)
		}
	}
	return ResourceID{}, ErrNotFound
}
