package aws

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	emulator "github.com/draysync/dray/internal/emulator/aws"
	"github.com/draysync/dray/internal/image"
)

// images are of a repository with so many tags.
func images(n int) func(string) ([]emulator.ListedTag, bool) {
	return func(repository string) (all []emulator.ListedTag, found bool) {
		for i := range n {
			all = append(all, emulator.ListedTag{Tag: fmt.Sprintf("v%d", i), Digest: fmt.Sprintf("sha256:%064d", i)})
		}
		return append(all, emulator.ListedTag{Digest: fmt.Sprintf("sha256:%064d", n)}), repository == "team/app"
	}
}

// TestList lists every tag in requests of a thousand, and looks for the credential once, though many list at the same time.
func TestList(t *testing.T) {
	s := newStand(t, emulator.Options{
		Keys: map[string]string{keyID: secret}, Account: "111122223333", Roles: []emulator.Role{{ARN: mirrorRole}}, Images: images(3000),
	}, "AWS_ACCESS_KEY_ID", keyID, "AWS_SECRET_ACCESS_KEY", secret)
	repo := image.Repository{Registry: ours, Path: "team/app"}
	var group sync.WaitGroup
	list := func() {
		got := map[string]string{}
		if err := s.client.List(t.Context(), repo, Identity{Role: mirrorRole}, 3, func(tag, digest string) { got[tag] = digest }); err != nil {
			t.Error(err)
		}
		if len(got) != 3000 || got["v2499"] != fmt.Sprintf("sha256:%064d", 2499) {
			t.Errorf("%d tags are listed, and v2499 as %s", len(got), got["v2499"])
		}
	}
	for range 5 {
		group.Go(list)
	}
	group.Wait()
	list()
	counts := map[string]int{}
	for _, call := range s.cloud.Calls() {
		counts[call]++
	}
	if assumed, listed := counts["sts AssumeRole user/"+keyID], counts["ecr eu-west-1 ListImages role/mirror"]; assumed != 1 || listed != 18 || len(counts) != 2 {
		t.Errorf("calls: %v", counts)
	}
}

// TestListFails: what cannot be listed says why, and is absent only if there is no such repository.
func TestListFails(t *testing.T) {
	for name, c := range map[string]struct {
		registry, path    string
		as                Identity
		throttle          int
		throttledAs       int
		absent, temporary bool
		says, hint        string
	}{
		"no repository":      {path: "other", absent: true},
		"no right":           {as: Identity{Role: mirrorRole}, says: "list the images: ECR ListImages: AWS answered AccessDeniedException", hint: "ecr:ListImages"},
		"another account":    {registry: strings.Replace(ours, "1111", "9999", 1), says: "AccessDeniedException", hint: "ecr:ListImages"},
		"too many pages":     {says: "there are more than 2 pages"},
		"throttled for long": {throttle: 100, throttledAs: http.StatusBadRequest, temporary: true, says: "ThrottlingException"},
		"ECR Public":         {registry: "public.ecr.aws", says: "not a private registry"},
		"no host of ECR":     {registry: "registry.example.com", says: "not a private registry"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t, emulator.Options{
				Keys: map[string]string{keyID: secret}, Account: "111122223333", Roles: []emulator.Role{{ARN: mirrorRole, Unlisted: true}}, Images: images(2500),
			}, "AWS_ACCESS_KEY_ID", keyID, "AWS_SECRET_ACCESS_KEY", secret)
			synctest.Test(t, func(t *testing.T) {
				s.cloud.Throttle(c.throttle, c.throttledAs)
				repo := image.Repository{Registry: ours, Path: "team/app"}
				if c.registry != "" {
					repo.Registry = c.registry
				}
				if c.path != "" {
					repo.Path = c.path
				}
				err := s.client.List(t.Context(), repo, c.as, 2, func(string, string) {})
				if err == nil || errors.Is(err, image.ErrAbsent) != c.absent || !strings.Contains(err.Error(), c.says) {
					t.Fatalf("%v, absent: %t", err, errors.Is(err, image.ErrAbsent))
				}
				if e, ok := errors.AsType[*Error](err); ok && (e.Temporary() != c.temporary || !strings.Contains(e.Hint(), c.hint)) {
					t.Errorf("temporary: %t, hint: %q", e.Temporary(), e.Hint())
				}
				if slices.ContainsFunc(s.cloud.Secrets(), func(secret string) bool { return secret != "" && strings.Contains(err.Error(), secret) }) {
					t.Errorf("a secret is in %v", err)
				}
			})
		})
	}
}
