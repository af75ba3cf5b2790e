package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/draysync/dray/internal/fulltest"
)

func TestDelayed(t *testing.T) {
	const source = `package a

import "fmt"

func empty() {}

func F() func() { // says it
	return func() {
		fmt.Println("it")
	}
}
`
	const want = `package a; import delay_ "github.com/draysync/dray/internal/fulltest/delay"

import "fmt"

func empty() {}

func F() func() { delayed_a_go[0].Begin(); // says it
	return func() { delayed_a_go[1].Begin();
		fmt.Println("it")
	}
}

var delayed_a_go [2]delay_.Function
`
	if got, err := delayed("x/a.go", []byte(source)); err != nil || string(got) != want {
		t.Errorf("%v\n%s", err, got)
	}
	if got, err := delayed("a.go", []byte("package a\n")); err != nil || got != nil {
		t.Errorf("%v, %q", err, got)
	}
}

// TestOverlay runs the tests of a package whose functions sleep.
func TestOverlay(t *testing.T) {
	fulltest.Require(t)
	to := t.TempDir()
	t.Chdir(filepath.Join("..", "..", ".."))
	if err := overlay(to); err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), "go", "test", "-overlay", filepath.Join(to, "overlay.json"), "-ldflags=-checklinkname=0", "-vet=off", "./internal/backoff")
	command.Env = append(os.Environ(), "GOFLAGS=")
	if out, err := command.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
