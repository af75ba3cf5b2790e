package aws

import (
	"errors"
	"strings"
	"sync"
	"testing"

	emulator "github.com/draysync/dray/internal/emulator/aws"
)

// TestCreate creates a repository with its settings, once, though many ask for it, and never in another account's registry.
func TestCreate(t *testing.T) {
	s := newStand(t, emulator.Options{Keys: map[string]string{keyID: secret}, Account: "111122223333", Roles: []emulator.Role{{ARN: mirrorRole, Puller: true}}},
		"AWS_ACCESS_KEY_ID", keyID, "AWS_SECRET_ACCESS_KEY", secret)
	settings := Repository{Tags: []string{"team=a=b", "empty="}, Immutable: true, Encryption: "arn:aws:kms:eu-west-1:111122223333:key/x", Lifecycle: `{"rules":[]}`}
	var group sync.WaitGroup
	for range 10 {
		group.Go(func() {
			if err := s.client.Create(t.Context(), ours, "team/app", Identity{}, settings); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	got := s.cloud.Created()["team/app"]
	for _, want := range []string{
		`"registryId":"111122223333"`, `"imageTagMutability":"IMMUTABLE"`, `"encryptionType":"KMS"`, `"kmsKey":"arn:aws:kms:eu-west-1:111122223333:key/x"`,
		`{"Key":"team","Value":"a=b"}`, `{"Key":"empty","Value":""}`,
	} {
		if !strings.Contains(got.Settings, want) {
			t.Errorf("%s is not in %s", want, got.Settings)
		}
	}
	if got.Lifecycle != settings.Lifecycle || len(s.cloud.Created()) != 1 {
		t.Errorf("%+v", s.cloud.Created())
	}
	if err := s.client.Create(t.Context(), ours, "plain", Identity{}, Repository{}); err != nil {
		t.Error(err)
	}
	if got := s.cloud.Created()["plain"]; strings.Contains(got.Settings, "encryption") || strings.Contains(got.Settings, "Mutability") || got.Lifecycle != "" {
		t.Errorf("%+v", got)
	}
	for registry, as := range map[string]Identity{strings.Replace(ours, "1111", "9999", 1): {}, ours: {Role: mirrorRole}} {
		err := s.client.Create(t.Context(), registry, "other", as, Repository{})
		if e, ok := errors.AsType[*Error](err); !ok || e.Temporary() || !strings.Contains(err.Error(), "create the repository: ECR CreateRepository: AWS answered AccessDeniedException") || !strings.Contains(e.Hint(), "ecr:CreateRepository") {
			t.Errorf("%s: %v", registry, err)
		}
	}
	if err := s.client.Create(t.Context(), "public.ecr.aws", "x", Identity{}, Repository{}); err == nil {
		t.Error("a repository of ECR Public is created")
	}
}
