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

// lookup is what came of looking a registry up.
type lookup struct {
	id  ResourceID
	err error
	// until is how long a failure is believed.
	until time.Time
}

// The version of Resource Graph, how long it is waited for, how long a registry that was not found is not looked for again, and how long one
// that could not be looked for.
const (
	graphVersion = "2022-10-01"
	graphWait    = 10 * time.Second
	missingFor   = time.Minute
	failedFor    = 10 * time.Second
)

// Find looks a registry up by its login server: in one subscription, or, where that is empty, in all that this identity can see. Each is
// looked up once, whoever asks.
func (c *Client) Find(ctx context.Context, subscription, loginServer string) (ResourceID, error) {
	key := subscription + " " + strings.ToLower(loginServer)
	if l, ok := c.known(key); ok {
		return l.id, l.err
	}
	return c.finding.Do(ctx, key, func(ctx context.Context) (ResourceID, error) {
		if l, ok := c.known(key); ok { // it was found while this flight was about to begin
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

// forget drops what is known of registries, by their IDs, of which the Resource Manager knew one not: it was moved, or made anew. Resource
// Graph may be behind, and is not believed again for a while that they are there. Nor are they looked up again within that time: it may be the
// other one of two that the Resource Manager does not know.
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

// goneFor is how long the Resource Manager's word that it does not know a registry counts.
const goneFor = 10 * time.Minute

// find asks: Resource Graph, which knows all subscriptions, where there are several, and then each of them. What Resource Graph does not know
// may be too new for it.
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
		c.options.Log.LogAttrs(ctx, slog.LevelDebug, "a registry is not known to Resource Graph; each subscription is asked", slog.String("registry", loginServer), slog.Any("err", err))
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
			return ResourceID{}, fmt.Errorf("look up %s: %w", loginServer, err) // the others are behind the same host
		}
		if err != nil {
			skipped = append(skipped, fmt.Sprintf("subscription %s: %v", s, err))
			if refused.MayPass() {
				passing = cmp.Or(passing, err)
			}
			c.options.Log.LogAttrs(ctx, slog.LevelWarn, "looking a registry up without a subscription that cannot be asked", slog.String("registry", loginServer),
				slog.String("err", skipped[len(skipped)-1]))
		}
	}
	if passing != nil {
		return ResourceID{}, fmt.Errorf("look up %s: subscriptions could not be asked: %s: %w", loginServer, strings.Join(skipped, "; "), passing)
	}
	return ResourceID{}, notFound(loginServer, len(subscriptions)-len(skipped), skipped)
}

// notFound says where a registry was looked for.
func notFound(loginServer string, asked int, skipped []string) error {
	text := ""
	if len(skipped) > 0 {
		text = fmt.Sprintf("; not to be asked were %s", strings.Join(skipped, "; "))
	}
	return fmt.Errorf("no registry with the login server %s in %d subscriptions that this identity can read: it may lack the right Microsoft.ContainerRegistry/registries/read, "+
		"or write registries.%s.azure.resourceID%s: %w", loginServer, asked, loginServer, text, ErrNotFound)
}

// inSubscription looks through one subscription.
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

// graph asks Resource Graph.
func (c *Client) graph(ctx context.Context, loginServer string) (ResourceID, error) {
	if !registryHost.MatchString(loginServer) { // it becomes a part of the query
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
