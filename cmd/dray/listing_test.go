package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/draysync/dray/internal/emulator/registry"
)

// TestListings: registries that list tags with digests are asked once for all, also by a sync that has just started, unless the config says
// otherwise.
func TestListings(t *testing.T) {
	const tags = 40
	lists := registry.Options{Listing: registry.ListingOptions{Kind: registry.ZotListing}}
	source, target := registry.New(lists), registry.New(lists)
	i := registry.SingleArch(1, "linux/amd64", registry.ImageOptions{})
	if err := i.Push(source, "app", "v0"); err != nil {
		t.Fatal(err)
	}
	for n := range tags {
		if err := source.PutTag("app", fmt.Sprintf("v%d", n), i.Digest); err != nil {
			t.Fatal(err)
		}
	}
	from, to := start(t, source), start(t, target)
	dir := t.TempDir()
	config := func(listing string) string {
		path := filepath.Join(dir, "dray.yaml")
		text := fmt.Sprintf("version: 1\nstateDir: state\nregistries: {'%s': {listing: %s}, '%s': {listing: %s}}\nmappings:\n", from, listing, to, listing) +
			mapping("source: '%s/app', target: '%s/app', tags: ['v*']", from, to) + "\n"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	sync := func(listing string, kept int) (atSource, atTarget int) {
		source.Reset()
		target.Reset()
		if doc, a := drayJSON(t, "sync", "-c", config(listing)); a.code != exitDone || doc.Totals.Keep != kept || doc.Totals.Import != tags-kept {
			t.Fatalf("exit code %d, %+v\n%s", a.code, doc.Totals, a.err)
		}
		return len(source.Requests()), len(target.Requests())
	}
	sync("auto", 0)
	sync("auto", tags) // some tags are compared
	if atSource, atTarget := sync("auto", tags); atSource != 2 || atTarget != 1 {
		t.Errorf("%d and %d requests, want a list of tags, and a listing a side", atSource, atTarget)
	}
	if atSource, atTarget := sync("head", tags); atSource != 1+tags || atTarget != tags {
		t.Errorf("by head: %d and %d requests", atSource, atTarget)
	}
	for listing, says := range map[string]bool{"auto": true, "head": false} {
		if a := dray(t, "check", "--online", "-c", config(listing)); a.code != exitDone || strings.Contains(a.out, "lists tags with digests (zot)") != says {
			t.Errorf("check, listing: %s: exit code %d\n%s%s", listing, a.code, a.out, a.err)
		}
	}
}
