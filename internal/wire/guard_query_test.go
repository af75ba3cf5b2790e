package wire

import (
	"bufio"
	"bytes"
	"net/http"
	"net/url"
	"testing"
)

// TestQueryOfALink: what a Link, a Location or a redirect has in its query, and should have escaped, does not end the request line.
func TestQueryOfALink(t *testing.T) {
	carrier, err := New(Options{Name: "192.0.2.1", API: "192.0.2.1"})
	if err != nil {
		t.Fatal(err)
	}
	base, _ := url.Parse("https://192.0.2.1/v2/app/tags/list")
	for link, want := range map[string]string{
		"?last=a b&n=5":           "last=a%20b&n=5",
		"?last=v1 HTTP/1.1":       "last=v1%20HTTP/1.1",
		`?token={"a":"ü"}`:        "token={%22a%22:%22%C3%BC%22}",
		"?_state=a%2Bb%3D&x=y;z=": "_state=a%2Bb%3D&x=y;z=",
		"?n=5&amp;last=a":         "n=5&last=a",
		"?sig=a+b/c==":            "sig=a+b/c==",
	} {
		place, err := base.Parse(link)
		if err != nil {
			t.Fatal(err)
		}
		got, err := carrier.Allowed(place)
		if err != nil || got.RawQuery != want {
			t.Errorf("%q: %v, %v; want %q", link, got, err, want)
			continue
		}
		var sent bytes.Buffer
		if err := (&http.Request{Method: http.MethodGet, URL: got, Header: http.Header{}}).Write(&sent); err != nil {
			t.Fatal(err)
		}
		if read, err := http.ReadRequest(bufio.NewReader(&sent)); err != nil || read.URL.RawQuery != want {
			t.Errorf("%q arrives as %v, %v", link, read, err)
		}
	}
}
