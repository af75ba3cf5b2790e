package image

import "regexp"

// ECR is what the name of a host of Amazon ECR says.
type ECR struct {
	// Public is set for ECR Public, FIPS for a host with validated cryptography, DualStack for one that also has IPv6 addresses.
	Public, FIPS, DualStack bool
	// Account has 12 digits; it is empty for ECR Public. Region is the one whose API issues the credentials.
	Account, Region string
}

// ecrPublicRegion is the only region whose API issues credentials of ECR Public.
const ecrPublicRegion = "us-east-1"

// The hosts of private registries: plain, and dual stack ("Amazon ECR endpoints and quotas" in the AWS General Reference).
var (
	ecrPlain = regexp.MustCompile(`^([0-9]{12})\.dkr\.ecr(-fips)?\.([a-z]{2,8}(?:-[a-z]+)+-[0-9]+)\.` +
		`(?:amazonaws\.com|amazonaws\.com\.cn|amazonaws\.eu|c2s\.ic\.gov|sc2s\.sgov\.gov|cloud\.adc-e\.uk|csp\.hci\.ic\.gov)$`)
	ecrDualStack = regexp.MustCompile(`^([0-9]{12})\.dkr-ecr(-fips)?\.([a-z]{2,8}(?:-[a-z]+)+-[0-9]+)\.` +
		`on\.(?:aws|amazonwebservices\.com\.cn|amazonwebservices\.eu)$`)
)

// ParseECR reads the name of a registry. ok is false for hosts other than Amazon's, which cannot be told from others behind a name of one's own.
func ParseECR(registry string) (ecr ECR, ok bool) {
	switch registry {
	case "public.ecr.aws":
		return ECR{Public: true, Region: ecrPublicRegion}, true
	case "ecr-public.aws.com":
		return ECR{Public: true, DualStack: true, Region: ecrPublicRegion}, true
	}
	m, dualStack := ecrPlain.FindStringSubmatch(registry), false
	if m == nil {
		m, dualStack = ecrDualStack.FindStringSubmatch(registry), true
	}
	if m == nil {
		return ECR{}, false
	}
	return ECR{Account: m[1], FIPS: m[2] != "", Region: m[3], DualStack: dualStack}, true
}
