package config

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/draysync/dray/internal/image"
)

// RegistryAWS says that a registry is one of Amazon ECR, and as whom to sign in. Each text is empty if it is not set.
type RegistryAWS struct {
	// Profile is one of the shared config files, Role the ARN of a role to assume with it, ExternalID what the role asks for.
	Profile, Role, ExternalID string
}

// roleARN matches the ARN of an IAM role ("IAM identifiers" in the IAM user guide).
var roleARN = regexp.MustCompile(`^arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9_+=,.@/-]{1,576}$`)

// registryAWS reads the settings of a registry, whose canonical key may be host/path.
func (b *builder) registryAWS(key string, s registryAWSSection) *RegistryAWS {
	if !s.set {
		return nil
	}
	if _, ok := image.ParseECR(key); !ok && !strings.Contains(key, "/") {
		b.fail(s.origin, errors.New("is for hosts of Amazon ECR, and this is none"), "write the registry's own name, such as 111122223333.dkr.ecr.eu-west-1.amazonaws.com")
	}
	if t := s.Role; t.set && !roleARN.MatchString(t.value) {
		b.invalid(t, fmt.Errorf("%s is not the ARN of a role: it has the form arn:aws:iam::ACCOUNT:role/NAME", quote(t.raw)), "the ARN of a role")
	}
	return &RegistryAWS{Profile: s.Profile.value, Role: s.Role.value, ExternalID: s.ExternalID.value}
}
