package azure

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	emulator "github.com/draysync/dray/internal/emulator/azure"
	"github.com/draysync/dray/internal/emulator/registry"
)

// TestLookedUpOnce: thirty tags that want to know of one registry cost one lookup, in however many subscriptions it may be.
func TestLookedUpOnce(t *testing.T) {
	for _, c := range []struct {
		name                  string
		subscriptions         int
		noGraph               bool
		lists, graph, through int
	}{
		{"one subscription", 1, false, 1, 0, 1},
		{"many, which Resource Graph knows", 32, false, 1, 1, 0},
		{"many, without Resource Graph", 32, true, 1, 1, 32},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStand(t, emulator.Options{NoGraph: c.noGraph})
				s.beside(c.subscriptions - 1)
				for range 2 {
					var group sync.WaitGroup
					for range 30 {
						group.Go(func() {
							if id, err := s.client.Find(t.Context(), "", s.registry.LoginServer()); err != nil || id.String() != s.registry.ID() {
								t.Error(id, err)
							}
						})
					}
					group.Wait()
				}
				lists, graph, through := s.lookups()
				if lists != c.lists || graph != c.graph || through != c.through {
					t.Errorf("%d lists of subscriptions, %d questions to Resource Graph, %d lists of registries; want %d, %d, %d", lists, graph, through, c.lists, c.graph, c.through)
				}
			})
		})
	}
}

// beside makes other subscriptions, which are asked before the one with the registries.
func (s *stand) beside(n int) (made []*emulator.Subscription) {
	for i := range n {
		id := "00000000-0000-0000-0000-0000000000" + string([]byte{'0' + byte(i/10), '0' + byte(i%10)})
		made = append(made, s.tenant.AddSubscription(id))
	}
	return made
}

// lookups counts requests.
func (s *stand) lookups() (subscriptions, graph, registries int) {
	count := func(match func(path string) bool) int {
		return s.cloud.Management.Count(func(r registry.Request) bool { return match(r.Path) })
	}
	return count(func(p string) bool { return p == "/subscriptions" }),
		count(func(p string) bool { return strings.Contains(p, "ResourceGraph") }),
		count(func(p string) bool { return strings.HasSuffix(p, "/registries") })
}

// TestSubscriptionsThatRefuse are passed over, and named where nothing is found.
func TestSubscriptionsThatRefuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, emulator.Options{NoGraph: true})
		others := s.beside(2)
		others[0].RefuseLists(&emulator.Failure{Status: http.StatusConflict, Code: "MissingSubscriptionRegistration", Message: "The subscription is not registered to use namespace 'Microsoft.ContainerRegistry'."})
		if id, err := s.client.Find(t.Context(), "", s.registry.LoginServer()); err != nil || id.String() != s.registry.ID() {
			t.Error(id, err)
		}
		_, err := s.client.Find(t.Context(), "", "nobody.azurecr.io")
		if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "in 2 subscriptions") || !strings.Contains(err.Error(), others[0].ID) || !strings.Contains(err.Error(), "MissingSubscriptionRegistration") {
			t.Error(err)
		}
		others[1].RefuseLists(&emulator.Failure{Status: http.StatusServiceUnavailable, Code: "ServerTimeout", Message: "The request timed out."})
		if _, err = s.client.Find(t.Context(), "", "other.azurecr.io"); err == nil || errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), others[1].ID) {
			t.Errorf("what could not be asked is said not to be there: %v", err)
		}
		_, _, before := s.lookups()
		if _, again := s.client.Find(t.Context(), "", "other.azurecr.io"); again == nil {
			t.Error("found")
		}
		if _, _, after := s.lookups(); after != before {
			t.Errorf("it is asked again at once: %d requests", after-before)
		}
		others[1].RefuseLists(nil)
		time.Sleep(failedFor)
		if _, err = s.client.Find(t.Context(), "", "other.azurecr.io"); !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
	})
}

// TestGoneRegistry: a registry that Azure no longer knows where it was found is looked for again, and Resource Graph, which may be behind, is not
// believed that it is there. Where imports are refused all the same, that is looked up once in ten minutes.
func TestGoneRegistry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, emulator.Options{})
		s.beside(2)
		find := func() ResourceID {
			t.Helper()
			id, err := s.client.Find(t.Context(), "", s.registry.LoginServer())
			if err != nil || id.String() != s.registry.ID() {
				t.Fatalf("%s, %v", id, err)
			}
			return id
		}
		id := find()
		s.cloud.Inject(emulator.Behavior{Refuse: &emulator.Failure{Status: http.StatusNotFound, Code: "ResourceNotFound", Message: "The Resource was not found."}})
		start := func() {
			t.Helper()
			_, err := s.client.Start(t.Context(), id, NewOperationID(), Import{Source: ImportSource{ResourceID: id.String(), Image: "app:v1"}, TargetTags: []string{"app:v1"}})
			if refused, ok := errors.AsType[*ResponseError](err); !ok || refused.Status != http.StatusNotFound {
				t.Fatal(err)
			}
			find()
			find()
		}
		for minute := range 10 { // imports go on to be refused
			start()
			if _, graph, through := s.lookups(); graph != 2 || through != 3 {
				t.Errorf("after %d minutes: %d questions to Resource Graph, %d lists of registries; want 2 and 3", minute, graph, through)
			}
			time.Sleep(time.Minute)
		}
		start()
		if _, graph, _ := s.lookups(); graph != 3 {
			t.Errorf("after 10 minutes: %d questions to Resource Graph", graph)
		}
	})
}
