package azure

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite golden files and docs/azure-errors.md")

// golden compares got with a file, or rewrites that.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s is not what the table makes; -update rewrites it (-want +got):\n%s", path, d)
	}
}

func TestDocument(t *testing.T) {
	golden(t, filepath.Join("..", "..", "docs", "azure-errors.md"), document())
}

// everyCode is in the order of the document.
func everyCode() []FailureCode {
	return []FailureCode{
		CodeSourceRateLimited, CodeSourceUnauthorized, CodeSourceForbidden, CodeSourceNotFound, CodeSourceIncompatible, CodeTooManyManifests,
		CodePermissionSource, CodePermissionTarget, CodeTargetNotFound, CodeTargetLocked, CodeConflict, CodeNetworkDenied, CodeTransientCopy,
		CodeThrottled, CodeTimeout, CodeVerifyFailed, CodeSignIn, CodeConfigInvalid, CodeImportFailed,
	}
}

// document is docs/azure-errors.md.
func document() string {
	var b strings.Builder
	b.WriteString(documentHead)
	for _, code := range everyCode() {
		fmt.Fprintf(&b, "| [`%[1]s`](#%[1]s) | %s |\n", code, strings.Join(summary(code), " | "))
	}
	for _, code := range everyCode() {
		fmt.Fprintf(&b, "\n## %s\n", code)
		for _, r := range rulesOf(code) {
			b.WriteString(entry(r))
		}
	}
	return b.String()
}

const documentHead = `# Errors of Azure's import, and what to do

Azure Container Registry describes a failed import in a few words, names the target registry whichever side failed, and reports
"InvalidParameters" for almost everything. dray translates this into a stable code, the side at fault, a sentence, and a remedy. The code
is in the log, in reports and in ` + "`dray status`" + `. Microsoft's support finds a request by the correlation id next to the code.

dray classifies an error by its error code if that is specific enough, else by the HTTP status of the request, else by patterns of the
message. The first rule that matches applies. ` + "`go test ./internal/azure -update`" + ` generates this page from the table of these rules in
` + "`internal/azure`" + `. The examples of failed imports omit Azure's usual beginning: "Operation registries-… failed. Resource
/subscriptions/…/registries/TARGET". *Retry* means that dray retries by itself. *Copy* means that the engine ` + "`copy`" + ` may still import the
image; with ` + "`engine: auto`" + ` dray then copies it.

| code | side | retry | copy |
| --- | --- | --- | --- |
`

// rulesOf are the rules that give a code, Azure's first.
func rulesOf(code FailureCode) []failureRule {
	return slices.DeleteFunc(slices.Concat(taxonomy(), foundByDray), func(r failureRule) bool { return r.kind != code })
}

// summary is the row of a code after its name: what all its rules say, or "depends".
func summary(code FailureCode) []string {
	rules := rulesOf(code)
	sides := map[string]bool{}
	var again, copies int
	for _, r := range rules {
		sides[r.side] = true
		if r.again {
			again++
		}
		if r.copies {
			copies++
		}
	}
	var names []string
	for _, side := range []string{SideSource, SideTarget, SideAzure} {
		if sides[side] {
			names = append(names, side)
		}
	}
	share := func(n int) string {
		switch n {
		case 0:
			return "no"
		case len(rules):
			return "yes"
		}
		return "depends"
	}
	return []string{strings.Join(names, ", "), share(again), share(copies)}
}

// entry is a rule's part of the document.
func entry(r failureRule) string {
	known, source := knownBy(r), "\n- Source: "+escape(r.seen)+"."
	if slices.ContainsFunc(foundByDray, func(own failureRule) bool { return own.name == r.name }) {
		known, source = "a check of dray", ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n### %s\n\n- Side: %s. %s\n- What to do: %s.%s\n- Known by: %s.%s\n",
		escape(sentence(filled(r.what, nil))), r.side, prospects(r), commands(filled(r.advice, nil)), onHub(r), known, source)
	message := strings.TrimPrefix(r.example.Message, importEnd)
	if message != "" {
		fmt.Fprintf(&b, "\n```text\n%s\n```\n", message)
	}
	return b.String()
}

func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// escape keeps placeholders from being taken for HTML.
func escape(s string) string { return strings.NewReplacer("<", `\<`, "|", `\|`, "*", `\*`).Replace(s) }

var command = regexp.MustCompile(`\baz [a-z]+(?: [a-z][a-z-]*)*(?: --[a-z-]+(?: "[^"]*"| [^\s";,)]+)?)*`)

// commands sets lines for a shell as code, and escapes the rest.
func commands(s string) string {
	var b strings.Builder
	end := 0
	for _, at := range command.FindAllStringIndex(s, -1) {
		b.WriteString(escape(s[end:at[0]]) + "`" + s[at[0]:at[1]] + "`")
		end = at[1]
	}
	return b.String() + escape(s[end:])
}

func prospects(r failureRule) string {
	text := "dray does not retry before the job's next run"
	if r.again {
		text = "dray retries"
		if r.wait > 0 {
			text += fmt.Sprintf(", at the earliest after %d minutes", int(r.wait.Minutes()))
		}
	}
	switch {
	case r.copies && r.kind == CodeSourceRateLimited:
		text += "; the engine copy may succeed if dray has an account at the source"
	case r.copies:
		text += "; the engine copy may succeed"
	}
	return text + "."
}

// knownBy tells in words which conditions a rule has.
func knownBy(r failureRule) string {
	var parts []string
	if len(r.codes) > 0 {
		parts = append(parts, "error code `"+strings.Join(r.codes, "`, `")+"`")
	}
	switch {
	case r.to != 0 && r.from == r.to:
		parts = append(parts, fmt.Sprintf("HTTP status %d", r.to))
	case r.to != 0:
		parts = append(parts, fmt.Sprintf("HTTP status %d to %d", r.from, r.to))
	}
	if r.text != nil {
		parts = append(parts, "a message that matches `"+r.text.String()+"`")
	}
	switch r.at {
	case SideSource:
		parts = append(parts, "a message that names another registry than the target")
	case SideTarget:
		parts = append(parts, "a message that names no other registry than the target")
	}
	if r.polled {
		parts = append(parts, "an accepted import")
	}
	if r.posted {
		parts = append(parts, "a request that is not about an accepted import")
	}
	if len(parts) == 0 {
		return "no other rule matches"
	}
	return strings.Join(parts, "; ")
}

// onHub returns the separate advice for Docker Hub, if there is any.
func onHub(r failureRule) string {
	if r.hub == "" {
		return ""
	}
	return " At Docker Hub: " + commands(filled(r.hub, nil)) + "."
}
