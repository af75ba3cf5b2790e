package azure

import (
	"cmp"
	"path"
)

// Who returns whom the last token of Entra for registries is of: a user, a managed identity or an application; empty if there is no token, or it
// does not say. The token is not verified: that is for the registry.
func (c *Client) Who() string {
	c.entra.mu.Lock()
	token := c.entra.now.token
	c.entra.mu.Unlock()
	// "Access token claims reference" of the Microsoft identity platform; xms_mirid is the resource ID of a managed identity, or of the machine
	// that has one.
	var claims struct {
		User      string `json:"upn"`
		OtherUser string `json:"unique_name"`
		Resource  string `json:"xms_mirid"`
		App       string `json:"appid"`
	}
	readClaims(token, &claims)
	text := ""
	switch user := cmp.Or(claims.User, claims.OtherUser); {
	case user != "":
		text = user
	case claims.Resource != "":
		text = "managed identity " + path.Base(claims.Resource)
	case claims.App != "":
		text = "application " + claims.App
	}
	return truncated(oneLine(text), 200)
}
