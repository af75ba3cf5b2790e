package web

import (
	"net/http"
	"strings"
	"testing"
)

// Where the files of secrets lie is shown to those only who may change something.
func TestFilesAreShownToFew(t *testing.T) {
	for name, tt := range map[string]struct {
		token string
		sent  []string
		want  bool
	}{
		"without a token": {"", nil, true},
		"signed in":       {token, []string{"Authorization: Bearer " + token}, true},
		"not signed in":   {token, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			address := start(t, Options{Daemon: fullDaemon(), Details: fakeDetails{}, Token: tt.token})
			_, body := ask(t, http.MethodGet, "http://"+address+"/config", nil, tt.sent...)
			if strings.Contains(body, "/run/secrets/hub") != tt.want {
				t.Errorf("the page shows the files: %t", !tt.want)
			}
		})
	}
}
