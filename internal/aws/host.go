package aws

import "regexp"

// host is what the name of an ECR host says.
type host struct {
	public, fips, dualStack bool
	// account has 12 digits; it is empty for ECR Public.
	account, region string
}

// publicRegion is the only region whose API gives tokens for ECR Public.
const publicRegion = "us-east-1"

// The hosts of private registries: plain, and dual stack ("Amazon ECR endpoints and quotas" in the AWS General Reference).
var (
	plainHost = regexp.MustCompile(`^([0-9]{12})\.dkr\.ecr(-fips)?\.([a-z]{2,8}(?:-[a-z]+)+-[0-9]+)\.` +
		`(?:amazonaws\.com|amazonaws\.com\.cn|amazonaws\.eu|c2s\.ic\.gov|sc2s\.sgov\.gov|cloud\.adc-e\.uk|csp\.hci\.ic\.gov)$`)
	dualStackHost = regexp.MustCompile(`^([0-9]{12})\.dkr-ecr(-fips)?\.([a-z]{2,8}(?:-[a-z]+)+-[0-9]+)\.` +
		`on\.(?:aws|amazonwebservices\.com\.cn|amazonwebservices\.eu)$`)
)

func parseHost(name string) (host, bool) {
	switch name {
	case "public.ecr.aws":
		return host{public: true, region: publicRegion}, true
	case "ecr-public.aws.com":
		return host{public: true, dualStack: true, region: publicRegion}, true
	}
	m, dualStack := plainHost.FindStringSubmatch(name), false
	if m == nil {
		m, dualStack = dualStackHost.FindStringSubmatch(name), true
	}
	if m == nil {
		return host{}, false
	}
	return host{account: m[1], fips: m[2] != "", region: m[3], dualStack: dualStack}, true
}

// Issues reports whether AWS issues the credentials of a registry: whether it is a host of ECR or of ECR Public.
func Issues(registry string) bool {
	_, ok := parseHost(registry)
	return ok
}

// Public reports whether a registry is ECR Public, which can be read without a credential.
func Public(registry string) bool {
	h, _ := parseHost(registry)
	return h.public
}
