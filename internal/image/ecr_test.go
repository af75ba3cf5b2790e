package image

import "testing"

// TestParseECR: hosts are known by their names, and what only looks like one is not.
func TestParseECR(t *testing.T) {
	const ours = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"
	for name, want := range map[string]ECR{
		ours: {Account: "111122223333", Region: "eu-west-1"},
		"111122223333.dkr.ecr-fips.us-gov-west-1.amazonaws.com":           {Account: "111122223333", Region: "us-gov-west-1", FIPS: true},
		"111122223333.dkr-ecr.us-east-1.on.aws":                           {Account: "111122223333", Region: "us-east-1", DualStack: true},
		"111122223333.dkr-ecr-fips.us-east-1.on.aws":                      {Account: "111122223333", Region: "us-east-1", DualStack: true, FIPS: true},
		"111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn":                {Account: "111122223333", Region: "cn-north-1"},
		"111122223333.dkr-ecr.cn-northwest-1.on.amazonwebservices.com.cn": {Account: "111122223333", Region: "cn-northwest-1", DualStack: true},
		"111122223333.dkr.ecr.eusc-de-east-1.amazonaws.eu":                {Account: "111122223333", Region: "eusc-de-east-1"},
		"111122223333.dkr.ecr.us-iso-east-1.c2s.ic.gov":                   {Account: "111122223333", Region: "us-iso-east-1"},
		"111122223333.dkr.ecr.us-isob-east-1.sc2s.sgov.gov":               {Account: "111122223333", Region: "us-isob-east-1"},
		"111122223333.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk":              {Account: "111122223333", Region: "eu-isoe-west-1"},
		"111122223333.dkr.ecr.us-isof-south-1.csp.hci.ic.gov":             {Account: "111122223333", Region: "us-isof-south-1"},
		"public.ecr.aws":     {Public: true, Region: "us-east-1"},
		"ecr-public.aws.com": {Public: true, Region: "us-east-1", DualStack: true},
	} {
		if got, ok := ParseECR(name); got != want || !ok {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	for _, name := range []string{
		"", "docker.io", "amazonaws.com", "11112222333.dkr.ecr.eu-west-1.amazonaws.com", ours + ".example.com", "x." + ours, ours + ":443",
		"111122223333.dkr.ecr.eu-west-1.amazonaws.com.evil.example.com", "111122223333.dkr.ecr.eu-west-1.on.aws", "111122223333.dkr-ecr.eu-west-1.amazonaws.com",
		"111122223333.dkr.ecr..amazonaws.com", "111122223333.dkr.ecr.evil.amazonaws.com", "x.public.ecr.aws", "111122223333.dkr.ecr.eu-west-1.amazonaws.de",
	} {
		if _, ok := ParseECR(name); ok {
			t.Errorf("%q is taken for a host of ECR", name)
		}
	}
}
