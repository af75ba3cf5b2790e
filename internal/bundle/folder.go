package bundle

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/draysync/dray/internal/file"
	"github.com/draysync/dray/internal/image"
)

const (
	// stateDir is what is remembered of bundles, in the folder that they are made from or loaded into.
	stateDir = ".dray-bundle"
	lockName = "lock"
	// sentDir has the documents of the bundles that were made.
	sentDir = "sent"
	// maxSent is how many of these are kept for a site.
	maxSent = 32
)

// folder is a folder that bundles are made from or loaded into, which no other process uses so at the same time.
type folder struct {
	dir  string // the one with the state
	lock *os.File
}

func openFolder(path string) (*folder, error) {
	f := &folder{dir: filepath.Join(path, stateDir)}
	if err := os.MkdirAll(f.dir, 0o755); err != nil { //nolint:gosec // digests are no secret
		return nil, err //nolint:wrapcheck // it names the folder
	}
	lock, err := os.OpenFile(filepath.Join(f.dir, lockName), os.O_CREATE|os.O_RDWR, 0o644) //nolint:gosec // it is empty
	if err != nil {
		return nil, err //nolint:wrapcheck // it names the file
	}
	locked, err := file.TryLock(lock, true)
	if err == nil && !locked {
		err = errors.New("another process makes a bundle from it, or loads one into it: wait until that is done")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), lock.Close())
	}
	f.lock = lock
	return f, nil
}

func (f *folder) close() { _ = file.Unlock(f.lock) }

// documents returns the sequence numbers of a site's documents in a folder, sorted. A folder that is missing has none.
func documents(dir, id string) ([]int, error) { return numbers(dir, id, documentEnding) }

// numbers returns the sequence numbers of a site's files with an ending.
func numbers(dir, id, ending string) ([]int, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var all []int
	for _, e := range entries {
		if name, seq, ok := parseName(e.Name(), ending); ok && name == id {
			all = append(all, seq)
		}
	}
	slices.Sort(all)
	return all, err //nolint:wrapcheck // it names the folder
}

// errCase says that the files of two sites would be the same.
var errCase = errors.New("a site whose name differs by case only: on FAT, exFAT and others the files of both would be the same")

// onlyCase returns an error if a folder has documents of such a site.
func onlyCase(dir, id string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if name, _, ok := parseDocumentName(e.Name()); ok && name != id && strings.EqualFold(name, id) {
			return fmt.Errorf("%s has bundles of %s, %w", dir, name, errCase)
		}
	}
	return err //nolint:wrapcheck // it names the folder
}

// parseDocumentName is the inverse of documentName.
func parseDocumentName(name string) (id string, seq int, ok bool) {
	return parseName(name, documentEnding)
}

// parseName returns the site and the number in a file's name with an ending.
func parseName(name, ending string) (id string, seq int, ok bool) {
	stem, ok := strings.CutSuffix(name, ending)
	i := strings.LastIndexByte(stem, '-')
	if !ok || i < 0 {
		return "", 0, false
	}
	seq, err := strconv.Atoi(stem[i+1:])
	id = stem[:i]
	return id, seq, err == nil && CheckID(id) == nil && stem == prefix(id, seq)
}

// forget removes the files of a site with an ending, up to a number.
func forget(dir, id, ending string, last int) error {
	all, err := numbers(dir, id, ending)
	for _, seq := range all {
		if seq <= last {
			err = errors.Join(err, os.Remove(filepath.Join(dir, prefix(id, seq)+ending)))
		}
	}
	return err
}

// last returns the number of a site's last bundle, of those that were made from this folder and of those in to; 0 for none. unrecorded is
// the document of a bundle in to that is missing here, since its Create was interrupted; nil for none.
func (f *folder) last(to, id string) (seq int, unrecorded []byte, err error) {
	sent, err := documents(filepath.Join(f.dir, sentDir), id)
	if err != nil {
		return 0, nil, err
	}
	there, err := documents(to, id)
	if err != nil {
		return 0, nil, err
	}
	for _, dir := range []string{to, filepath.Join(f.dir, sentDir)} {
		if err := onlyCase(dir, id); err != nil {
			return 0, nil, err
		}
	}
	if len(sent) > 0 {
		seq = sent[len(sent)-1]
	}
	if n := len(there); n > 0 && there[n-1] > seq {
		seq = there[n-1]
		unrecorded, err = file.Read(filepath.Join(to, prefix(id, seq)+documentEnding), maxDocument)
	}
	return seq, unrecorded, err
}

// sent records that a bundle was made, and forgets old ones.
func (f *folder) sent(b *Bundle, raw []byte) error {
	dir := filepath.Join(f.dir, sentDir)
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // digests are no secret
		return err //nolint:wrapcheck // it names the folder
	}
	if err := file.Replace(filepath.Join(dir, b.documentName()), raw, 0o644); err != nil {
		return err
	}
	all, err := documents(dir, b.ID)
	if err != nil {
		return err
	}
	known, err := f.acknowledged(b.ID)
	if err != nil {
		return err
	}
	for _, seq := range all[:max(0, len(all)-maxSent)] {
		if seq == known.Seq {
			continue
		}
		if err := os.Remove(filepath.Join(dir, prefix(b.ID, seq)+documentEnding)); err != nil {
			return err //nolint:wrapcheck // it names the file
		}
	}
	return nil
}

// sentBundle returns a bundle that was made from the folder.
func (f *folder) sentBundle(id string, seq int) (*Bundle, error) {
	path := filepath.Join(f.dir, sentDir, prefix(id, seq)+documentEnding)
	raw, err := file.Read(path, maxDocument)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no record of a bundle %s: make a full one", prefix(id, seq))
	}
	if err != nil {
		return nil, err
	}
	b, err := Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return b, nil
}

// acknowledgement is what a site has said that it has.
type acknowledgement struct {
	Version int    `json:"version"`
	ID      string `json:"id"`
	Seq     int    `json:"seq"`
	// Held is what the site has of the bundle's content; nil for all of it.
	Held []image.Digest `json:"held"`
}

func (f *folder) ackPath(id string) string { return filepath.Join(f.dir, "acknowledged-"+id+".json") }

// acknowledged returns the acknowledgement of a site; a zero one if there is none.
func (f *folder) acknowledged(id string) (a acknowledgement, err error) {
	raw, err := file.Read(f.ackPath(id), maxDocument)
	if errors.Is(err, fs.ErrNotExist) {
		return a, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &a)
	}
	if err != nil {
		return a, fmt.Errorf("%s: %w", f.ackPath(id), err)
	}
	return a, nil
}
