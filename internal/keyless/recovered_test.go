package keyless

import (
	"errors"
	"testing"
)

// TestRecovered: what makes the library panic is not verified, and ends nothing.
func TestRecovered(t *testing.T) {
	err := func() (err error) {
		defer recovered(&err)
		panic("no")
	}()
	if err == nil || errors.Unwrap(err) != nil {
		t.Error(err)
	}
}
