package azure

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/draysync/dray/internal/emulator/registry"
)

// HideUnknown makes a registry answer for repositories that it does not have as Docker Hub does: 401, which cannot be told
// from a private one. It is how an import without "library/" fails.
func HideUnknown(r *registry.Registry) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		_, repository := needs(req)
		if repository == "" || slices.Contains(r.Repositories(), repository) || !strings.HasPrefix(req.URL.Path, "/v2/") {
			r.ServeHTTP(w, req)
			return
		}
		text := `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required","detail":[{"Type":"repository","Class":"","Name":` +
			strconv.Quote(repository) + `,"Action":"pull"}]}]}`
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(text)) // an error is the client's leaving
	})
}
