package ratelimit

import "testing"

// TestKnown: all hosts of a registry have its limits.
func TestKnown(t *testing.T) {
	for registry, want := range map[string]int{
		"public.ecr.aws": 10, "ecr-public.aws.com": 10, "111122223333.dkr.ecr.eu-west-1.amazonaws.com": 90, "111122223333.dkr-ecr.eu-west-1.on.aws": 90,
		"111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn": 90, "ecr.amazonaws.com.example": 0, "registry.example.com": 0,
	} {
		if got := Known(registry).PerSecond; got != want {
			t.Errorf("%s: %d requests a second, want %d", registry, got, want)
		}
	}
}
