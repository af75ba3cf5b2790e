package azure

import (
	"net/http"
	"time"
)

// serveMetadata is the metadata service of a virtual machine, which gives its managed identities their tokens.
func (c *Cloud) serveMetadata(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	fail := func(status int, code, text string) {
		writeJSON(w, status, map[string]string{"error": code, "error_description": text})
	}
	switch {
	case r.URL.Path != "/metadata/identity/oauth2/token":
		http.NotFound(w, r)
		return
	case r.Header.Get("Metadata") != "true":
		fail(http.StatusBadRequest, "invalid_request", "Required metadata header not specified")
		return
	case query.Get("api-version") == "":
		fail(http.StatusBadRequest, "invalid_request", "Required query variable 'api-version' is missing")
		return
	case query.Get("resource") == "":
		fail(http.StatusBadRequest, "invalid_request", "Required audience parameter not specified")
		return
	}
	resourceID := query.Get("msi_res_id")
	if resourceID == "" {
		resourceID = query.Get("mi_res_id")
	}
	app := c.identity(query.Get("client_id"), query.Get("object_id"), resourceID)
	if app == nil {
		fail(http.StatusBadRequest, "invalid_request", "Identity not found")
		return
	}
	_, _, revoked := app.state()
	resource := audience(query.Get("resource"))
	if revoked || !c.knownResource(resource) {
		fail(http.StatusBadRequest, "invalid_resource", "AADSTS500011: The resource principal named "+resource+" was not found in the tenant named "+app.home.ID+".")
		return
	}
	answer := c.oldForm(app.home.token(app, resource, c.options.EntraTTL), resource, int(c.options.EntraTTL/time.Second))
	answer["client_id"] = app.ClientID
	writeJSON(w, http.StatusOK, answer)
}
