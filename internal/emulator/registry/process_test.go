package registry_test

import (
	"errors"
	"testing"

	"github.com/draysync/dray/internal/emulator/registry"
)

func TestStartProcessWithoutBinary(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := registry.StartProcess(t.Context(), t.TempDir()); !errors.Is(err, registry.ErrNoBinary) {
		t.Errorf("got %v", err)
	}
}
