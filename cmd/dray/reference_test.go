package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

//go:generate go test . -run "^TestCommandReferenceIsCurrent$" -update

var update = flag.Bool("update", false, "rewrite the reference of the command line")

// TestCommandReferenceIsCurrent compares docs/cli.md with the commands' own help.
func TestCommandReferenceIsCurrent(t *testing.T) {
	a := &app{streams: streams{out: &bytes.Buffer{}, err: &bytes.Buffer{}, getenv: func(string) (string, bool) { return "", false }, work: newWork()}}
	root := a.root()
	var b strings.Builder
	b.WriteString("# The command line\n\nThis is what `dray COMMAND --help` prints. [configuration.md](configuration.md) has the keys of the config file.\n\n" +
		exitHelp + "\n\nstdout has the answer, stderr the log. With `-o json` the answer, also that of a command that fails, is one document.\n\n" +
		"Flags of every command:\n\n```text\n" + root.PersistentFlags().FlagUsages() + "```\n")
	refer(&b, root)
	path := filepath.Join("..", "..", "docs", "cli.md")
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil { //nolint:gosec // a document
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(text), b.String()); d != "" {
		t.Errorf("go generate ./cmd/dray writes %s anew (-there +now):\n%s", path, d)
	}
}

// refer writes a section for each command below c.
func refer(b *strings.Builder, c *cobra.Command) {
	for _, below := range c.Commands() {
		if below.Hidden {
			continue
		}
		if !below.HasAvailableSubCommands() {
			long, _, _ := strings.Cut(below.Long, exitHelp)
			fmt.Fprintf(b, "\n## %s\n\n```text\n%s\n\n%s\n", below.CommandPath(), below.UseLine(), strings.TrimSpace(long))
			if below.HasAvailableLocalFlags() {
				b.WriteString("\n" + below.LocalNonPersistentFlags().FlagUsages())
			}
			b.WriteString("```\n")
		}
		refer(b, below)
	}
}

// TestHelpOfEachCommand: each command says what it does in a line and at length, its exit codes, and in a line each what its flags do.
func TestHelpOfEachCommand(t *testing.T) {
	a := &app{streams: streams{out: &bytes.Buffer{}, err: &bytes.Buffer{}, getenv: func(string) (string, bool) { return "", false }, work: newWork()}}
	var each func(c *cobra.Command)
	each = func(c *cobra.Command) {
		if c.Short == "" || strings.HasSuffix(c.Short, ".") || !strings.Contains(c.Long, exitHelp) {
			t.Errorf("%s: its help is incomplete", c.CommandPath())
		}
		for line := range strings.Lines(c.Long + "\n" + c.Short) {
			if n := len([]rune(strings.TrimRight(line, "\n"))); n > 116 {
				t.Errorf("%s: a line of %d characters: %s", c.CommandPath(), n, line)
			}
		}
		for _, below := range c.Commands() {
			each(below)
		}
	}
	each(a.root())
}
