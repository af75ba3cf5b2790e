package registry

import (
	"fmt"
	"testing"
	"time"

	emulator "github.com/draysync/dray/internal/emulator/registry"
)

// TestTokenServerBelowV2: with one request in flight allowed, a request for a token must not wait for the slot of the call that it is for,
// wherever the token server is. It runs in no bubble, as a hang would end one.
func TestTokenServerBelowV2(t *testing.T) {
	for _, path := range []string{"/token", "/v2/auth", "/v2/token", "/v2/a/manifests/token"} {
		for _, concurrency := range []int{1, 0} {
			t.Run(fmt.Sprint(path, " ", concurrency), func(t *testing.T) {
				auth := &emulator.Auth{TokenPath: path, Users: map[string]string{"ann": "secret"}}
				r, c := stand(t, emulator.Options{Auth: auth}, Options{Hosts: map[string]Host{home: {Concurrency: concurrency}}, Keychain: signed(home, "ann", "secret")})
				r.Inject(emulator.Fault{Delay: time.Millisecond})
				const repositories, tags = 12, 4
				answers := make(chan error, repositories*tags)
				for n := range repositories {
					repo := at(fmt.Sprint("app", n))
					push(t, r, repo.Path, "1")
					for range tags {
						go func() {
							_, err := c.Head(t.Context(), repo.Tag("1"))
							answers <- err
						}()
					}
				}
				for range repositories * tags {
					select {
					case err := <-answers:
						if err != nil {
							t.Error(err)
						}
					case <-time.After(2 * time.Minute):
						t.Fatal("it hangs")
					}
				}
				if n := kind(r.Gate, "", emulator.KindToken); n != repositories {
					t.Errorf("%d requests for tokens of %d repositories", n, repositories)
				}
			})
		}
	}
}
