// Package medium has file systems of removable media for tests: FAT32 and exFAT, as FUSE drivers have them in images.
//
// A driver runs only where everything is to be tested and the system lets it mount. Elsewhere a medium is a folder, in which nothing may be
// left at the end that FAT cannot hold.
package medium

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/draysync/dray/internal/fulltest"
)

const (
	// size is that of a medium in bytes; its image is sparse. FAT32 begins at 33 MB.
	size = 256 << 20
	// patience is how long a driver may take to mount and to unmount.
	patience = time.Minute
)

// FAT32 returns the folder of an empty medium with that file system, until the test ends.
func FAT32(t *testing.T) string {
	t.Helper()
	return mount(t, "mkfs.vfat -F 32", "dosfstools", func(image, folder string) (*exec.Cmd, error) {
		driver := exec.Command(fulltest.Program(t, "fusefat", "Debian's package fusefat"), "-f", "-o", "rw+", image, folder) //nolint:gosec // a program of the test
		return driver, driver.Start()
	})
}

// ExFAT is FAT32 for exFAT.
func ExFAT(t *testing.T) string {
	t.Helper()
	return mount(t, "mkfs.exfat", "exfatprogs", func(image, folder string) (*exec.Cmd, error) {
		driver := fulltest.Program(t, "mount.exfat-fuse", "Debian's package exfat-fuse") // it takes a block device only
		device, err := exec.Command("losetup", "--find", "--show", image).Output()
		if err != nil {
			return nil, err
		}
		name := strings.TrimSpace(string(device))
		out, err := exec.Command(driver, name, folder).CombinedOutput() //nolint:gosec // a program of the test
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		_ = exec.Command("losetup", "--detach", name).Run() //nolint:gosec // the system does so once the driver ends
		return nil, err
	})
}

// mount makes a file system in an image and has a driver mount it. The driver ends when the medium is unmounted.
func mount(t *testing.T, format, install string, start func(image, folder string) (*exec.Cmd, error)) string {
	t.Helper()
	folder := t.TempDir()
	t.Cleanup(func() { check(t, folder) })
	if !fulltest.Enabled() {
		return folder
	}
	image := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, size); err != nil {
		t.Fatal(err)
	}
	program, options, _ := strings.Cut(format, " ")
	args := append(strings.Fields(options), image)
	if out, err := exec.Command(fulltest.Program(t, program, "Debian's package "+install), args...).CombinedOutput(); err != nil { //nolint:gosec // a program of the test
		t.Fatalf("%s: %v\n%s", format, err, out)
	}
	driver, err := start(image, folder)
	ended := make(chan error, 1)
	if driver != nil && err == nil {
		go func() { ended <- driver.Wait() }()
	}
	for deadline := time.Now().Add(patience); err == nil && !mounted(t, folder); {
		select {
		case err = <-ended:
			err = fmt.Errorf("the driver ended: %w", err)
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is not mounted after %s", folder, patience)
		}
	}
	if err != nil {
		t.Logf("a folder stands for the medium: %v", err)
		return folder
	}
	t.Cleanup(func() {
		check(t, folder)
		if err := syscall.Unmount(folder, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
		if driver == nil {
			return
		}
		select {
		case <-ended:
		case <-time.After(patience):
			_ = driver.Process.Kill()
			t.Errorf("the driver did not end within %s", patience)
		}
	})
	return folder
}

// mounted reports whether something is mounted on a folder.
func mounted(t *testing.T, folder string) bool {
	t.Helper()
	var at, above syscall.Stat_t
	for path, stat := range map[string]*syscall.Stat_t{folder: &at, filepath.Dir(folder): &above} {
		if err := syscall.Stat(path, stat); err != nil {
			t.Fatal(err)
		}
	}
	return at.Dev != above.Dev
}

// check looks for what FAT32 and exFAT cannot hold.
func check(t *testing.T, folder string) {
	t.Helper()
	seen := map[string]string{}
	err := filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == folder {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if wrong := unfit(info); wrong != "" {
			t.Errorf("%s: FAT cannot hold it: %s", path, wrong)
		}
		if other, twice := seen[strings.ToLower(path)]; twice {
			t.Errorf("%s and %s are one file on FAT", path, other)
		}
		seen[strings.ToLower(path)] = path
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// unfit says why FAT cannot hold a file; empty if it can.
func unfit(info fs.FileInfo) string {
	switch name := info.Name(); {
	case strings.ContainsAny(name, `"*/:<>?\|`), strings.ContainsFunc(name, func(r rune) bool { return r < ' ' }):
		return "a character of its name"
	case strings.HasSuffix(name, "."), strings.HasSuffix(name, " "):
		return "the end of its name"
	case len(name) > 255:
		return "the length of its name"
	case !info.IsDir() && !info.Mode().IsRegular():
		return "it is a " + info.Mode().Type().String()
	case info.Size() >= 4<<30:
		return "it has 4 GiB"
	}
	return ""
}
