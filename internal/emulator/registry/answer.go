package registry

import (
	"cmp"
	"net/http"
	"strings"
)

// Answer is one that says the same to everybody.
type Answer struct {
	Status    int
	MediaType string // "" is application/json
	Body      string
}

// LoginPage is what a proxy that wants a person to sign in answers.
func LoginPage() *Answer {
	return &Answer{Status: http.StatusOK, MediaType: "text/html; charset=utf-8", Body: "<!doctype html><title>Sign in</title><form action=/login></form>"}
}

func (a *Answer) give(w http.ResponseWriter) {
	reply(w, a.Status, cmp.Or(a.MediaType, "application/json"), []byte(a.Body))
}

// missing answers a request for what is not there.
func (r *Registry) missing(w http.ResponseWriter, code, message string) {
	if r.options.Missing != nil {
		r.options.Missing.give(w)
		return
	}
	fail(w, http.StatusNotFound, code, message)
}

// escaping is [Options.Escapes].
type escaping struct{ http.ResponseWriter }

// Unwrap is for [http.ResponseController].
func (e escaping) Unwrap() http.ResponseWriter { return e.ResponseWriter }

// WriteHeader implements [http.ResponseWriter].
func (e escaping) WriteHeader(status int) {
	for _, name := range []string{"Link", "Location", "Www-Authenticate"} {
		for i, value := range e.Header()[name] {
			e.Header()[name][i] = strings.ReplaceAll(value, "&", "&amp;")
		}
	}
	e.ResponseWriter.WriteHeader(status)
}
