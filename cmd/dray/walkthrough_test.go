package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/draysync/dray/internal/emulator/medium"
	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/image"
)

// walkThrough is a section of docs/air-gap.md with commands.
var walkThrough = regexp.MustCompile("(?s)\n## ([1-9])\\. ([^\n]*)\n(?:[^`]|`[^`])*?```sh\n(.*?)```")

// TestWalkThroughs does what docs/air-gap.md has readers do, each walk-through by itself: on a disk with exFAT, sticks with FAT32 and exFAT, and folders. Where a
// line begins with "# Later", a tag moves at the source. In the end the far side has what the near side has.
func TestWalkThroughs(t *testing.T) {
	fulltest.Long(t)
	t.Parallel()
	text, err := os.ReadFile("../../docs/air-gap.md")
	if err != nil {
		t.Fatal(err)
	}
	media := map[string]map[string]func(*testing.T) string{
		"1": {"stage": medium.ExFAT}, "2": {"stick": medium.FAT32}, "3": {"burn": medium.ExFAT}, "4": {}, "5": {"stick": medium.ExFAT, "next": medium.FAT32},
	}
	found := walkThrough.FindAllStringSubmatch(string(text), -1)
	if len(found) != len(media) {
		t.Fatalf("%d walk-throughs", len(found))
	}
	for _, m := range found {
		t.Run(m[1], func(t *testing.T) {
			t.Parallel()
			walk(t, m[2], m[3], media[m[1]])
		})
	}
}

// walk runs the commands of a walk-through, in a folder with media.
func walk(t *testing.T, name, commands string, media map[string]func(*testing.T) string) {
	t.Helper()
	source, target := registry.New(registry.Options{}), registry.New(registry.Options{})
	r := newReaderOf(t, source, target, 40_000)
	for folder, mount := range media {
		if err := os.Symlink(mount(t), filepath.Join(r.dir, folder)); err != nil {
			t.Fatal(err)
		}
	}
	for _, side := range []string{"near", "far"} {
		private, public := sshKeys(t, t.TempDir())
		for from, to := range map[string]string{private: side + "_ed25519", public: side + "_ed25519.pub"} {
			if err := os.Rename(from, filepath.Join(r.dir, to)); err != nil {
				t.Fatal(err)
			}
		}
	}
	script := ""
	for line := range strings.Lines(r.names(commands)) {
		line = strings.NewReplacer("--volume-size dvd", "--volume-size 64k", "--volume-size 64m", "--volume-size 64k", "plant.example:5000", r.listen).Replace(strings.TrimSpace(line))
		serves, isServe := strings.CutPrefix(line, "dray serve ")
		command, isCommand := r.command(line)
		switch {
		case strings.HasPrefix(line, "# Later"):
			r.run(t, name, script)
			script = ""
			if err := registry.MultiArch(999, registry.ImageOptions{LayerSize: 40_000}).Push(source, "library/alpine", "3.22"); err != nil {
				t.Fatal(err)
			}
		case isServe:
			r.run(t, name, script)
			script = ""
			serveTo(t, strings.Fields(filepath.Join(r.dir, serves))...)
		case isCommand:
			script += command + "\n"
		}
	}
	r.run(t, name, script)
	for _, repository := range []string{"alpine", "busybox", "hello-world"} {
		near := tagsIn(t, filepath.Join(r.dir, "stage", repository))
		far := map[string]image.Digest{}
		if _, err := os.Stat(filepath.Join(r.dir, "far-stage")); err == nil {
			far = tagsIn(t, filepath.Join(r.dir, "far-stage", repository))
		} else {
			for tag := range near {
				far[tag] = image.Digest(target.Digest("library/"+repository, tag))
			}
		}
		if len(near) == 0 || fmt.Sprint(near) != fmt.Sprint(far) {
			t.Errorf("%s: the far side has %v, want %v", repository, far, near)
		}
	}
}
