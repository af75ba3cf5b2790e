package azure

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/draysync/dray/internal/lazyregexp"
)

// ErrNotFound says that the registry does not exist, or that this identity cannot see it.
var ErrNotFound = errors.New("not found")

// ResourceID names a registry.
type ResourceID struct{ Subscription, ResourceGroup, Name string }

var resourceID = lazyregexp.New(`^(?i:/subscriptions/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/resourceGroups/([-\w._()]{1,90})/providers/Microsoft\.ContainerRegistry/registries/([a-z0-9]{5,50}))$`)

// ParseResourceID parses the ID of a registry, ignoring case.
func ParseResourceID(s string) (ResourceID, error) {
	m := resourceID().FindStringSubmatch(s)
	if m == nil {
		return ResourceID{}, fmt.Errorf("%q is not the resource ID of a registry: want /subscriptions/…/resourceGroups/…/providers/Microsoft.ContainerRegistry/registries/NAME", truncated(s, 300))
	}
	return ResourceID{strings.ToLower(m[1]), m[2], m[3]}, nil
}

// String returns the ID as Azure writes it.
func (id ResourceID) String() string {
	return "/subscriptions/" + id.Subscription + "/resourceGroups/" + id.ResourceGroup + "/providers/Microsoft.ContainerRegistry/registries/" + id.Name
}

// Registry has a registry's properties from Resource Manager.
type Registry struct {
	ID ResourceID
	// LoginServer is its host; SKU is Basic, Standard, Premium or something else.
	LoginServer, SKU string
	// Public says that the registry can be reached from anywhere.
	Public bool
}

type registryDoc struct {
	ID  string `json:"id"`
	SKU struct {
		Name string `json:"name"`
	} `json:"sku"`
	Properties struct {
		LoginServer         string `json:"loginServer"`
		PublicNetworkAccess string `json:"publicNetworkAccess"`
	} `json:"properties"`
}

func (d registryDoc) registry() (Registry, error) {
	id, err := ParseResourceID(d.ID)
	return Registry{ID: id, LoginServer: strings.ToLower(d.Properties.LoginServer), SKU: d.SKU.Name, Public: !strings.EqualFold(d.Properties.PublicNetworkAccess, "Disabled")}, err
}

// Registry returns a registry by its ID.
func (c *Client) Registry(ctx context.Context, id ResourceID) (Registry, error) {
	var doc registryDoc
	if err := c.get(ctx, c.url(id.String(), apiVersion), &doc); err != nil {
		return Registry{}, err
	}
	return doc.registry()
}

func (c *Client) subscriptions(ctx context.Context) ([]string, error) {
	var ids []string
	err := list(ctx, c, c.url("/subscriptions", subscriptionsVersion), func(doc struct {
		SubscriptionID string `json:"subscriptionId"`
	}) bool {
		ids = append(ids, doc.SubscriptionID)
		return false
	})
	return ids, err
}
