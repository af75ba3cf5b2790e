package registry

import (
	"cmp"
	"net/http"
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
