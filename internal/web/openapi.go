package web

import (
	_ "embed"
	"net/http"
)

//go:generate go test . -run "^TestOpenAPIIsCurrent$" -update

// openAPI describes the API for programs. It is made from the types of its documents.
//
//go:embed assets/openapi.json
var openAPI []byte

func serveOpenAPI(w http.ResponseWriter, _ *http.Request) { send(w, http.StatusOK, typeJSON, openAPI) }
