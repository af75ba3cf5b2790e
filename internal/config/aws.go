package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/lazyregexp"
)

// RegistryAWS says that a registry is one of Amazon ECR, and as whom to sign in. Each text is empty if it is not set.
type RegistryAWS struct {
	// Profile is one of the shared config files, Role the ARN of a role to assume with it, ExternalID what the role asks for.
	Profile, Role, ExternalID string
	// Create has the settings of repositories that are created; nil to create none.
	Create *CreateRepositories
}

// CreateRepositories are settings of repositories.
type CreateRepositories struct {
	// Tags are of the form KEY=VALUE.
	Tags      []string
	Immutable bool
	// Encryption is AES256, KMS, KMS_DSSE or the ARN of a key, Lifecycle a policy in JSON; each is empty if it is not set.
	Encryption, Lifecycle string
}

// decode reads true, false, or settings.
func (c *createRepositoriesSection) decode(w *walker, n *yaml.Node, at origin, _ reflect.StructTag) {
	if n.Kind == yaml.MappingNode {
		w.object(c, n, at, "")
		c.on = true
		return
	}
	if w.scalar(n, at, "true, false, or a mapping with tags, immutable, encryption, lifecycle", "!!bool") {
		c.origin, c.on = at, strings.EqualFold(n.Value, "true")
	}
}

func (c *createRepositoriesSection) preset(value string) { c.on = value == "true" }

// The forms of a tag of AWS and of the ARN of a key in KMS.
var (
	keyValue = lazyregexp.New(`^[^=\n]{1,128}=[^\n]{0,256}$`)
	keyARN   = lazyregexp.New(`^(?:AES256|KMS|KMS_DSSE|arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:(?:key|alias)/[A-Za-z0-9/_-]{1,256})$`)
)

// maxLifecycle limits a lifecycle policy, in characters ("LifecyclePolicyText" in the reference of ECR's API).
const maxLifecycle = 30720

func (b *builder) createRepositories(key string, s createRepositoriesSection) *CreateRepositories {
	if !s.on {
		return nil
	}
	if ecr, ok := image.ParseECR(key); ok && ecr.Public {
		b.fail(s.origin, errors.New("is for private registries, and this is ECR Public"), "create its repositories by hand")
	}
	for _, t := range s.Tags.items {
		if t.set && !keyValue().MatchString(t.value) {
			b.invalid(t, fmt.Errorf("%s is not a tag of AWS: write KEY=VALUE", quote(t.raw)), "a tag of the form KEY=VALUE")
		}
	}
	if t := s.Encryption; t.set && !keyARN().MatchString(t.value) {
		b.invalid(t, fmt.Errorf("%s is not a kind of encryption: write AES256, KMS, KMS_DSSE, or the ARN of a key", quote(t.raw)), "a kind of encryption or the ARN of a key")
	}
	if t := s.Lifecycle; t.set && (!json.Valid([]byte(t.value)) || len(t.value) > maxLifecycle) {
		b.invalid(t, fmt.Errorf("is not a lifecycle policy: write JSON of up to %d characters", maxLifecycle), "a lifecycle policy in JSON")
	}
	return &CreateRepositories{Tags: values(s.Tags), Immutable: s.Immutable.value, Encryption: s.Encryption.value, Lifecycle: s.Lifecycle.value}
}

// roleARN matches the ARN of an IAM role ("IAM identifiers" in the IAM user guide).
var roleARN = lazyregexp.New(`^arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9_+=,.@/-]{1,576}$`)

// registryAWS reads the settings of a registry, whose canonical key may be host/path.
func (b *builder) registryAWS(key string, s registryAWSSection) *RegistryAWS {
	if !s.set {
		return nil
	}
	if _, ok := image.ParseECR(key); !ok && !strings.Contains(key, "/") {
		b.fail(s.origin, errors.New("is for hosts of Amazon ECR, and this is none"), "write the registry's own name, such as 111122223333.dkr.ecr.eu-west-1.amazonaws.com")
	}
	if t := s.Role; t.set && !roleARN().MatchString(t.value) {
		b.invalid(t, fmt.Errorf("%s is not the ARN of a role: it has the form arn:aws:iam::ACCOUNT:role/NAME", quote(t.raw)), "the ARN of a role")
	}
	return &RegistryAWS{Profile: s.Profile.value, Role: s.Role.value, ExternalID: s.ExternalID.value, Create: b.createRepositories(key, s.CreateRepositories)}
}
