package bundle

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/draysync/dray/internal/file"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/signature"
)

// ErrNoBundle says that there is no document of a bundle.
var ErrNoBundle = errors.New("no bundle: there is no file ID-NUMBER" + documentEnding)

// What may be wrong with a file.
const (
	missing = "is missing"
	notPart = "is not a part of the bundle"
	// wrongParts is about content that is split over volumes.
	wrongParts = "does not match its digest, put together from its parts"
)

// Problem is something of a bundle that is missing, damaged or too much.
type Problem struct {
	// File is the name of a file of the bundle, or its path where there are several copies of it.
	File string
	// Digest is the content that is damaged; empty where it is not that of a manifest or a blob.
	Digest image.Digest
	Text   string
}

func (p Problem) String() string {
	if p.Digest == "" {
		return p.File + ": " + p.Text
	}
	return p.File + ": " + string(p.Digest) + " " + p.Text
}

// set is a bundle with the files of it that were found.
type set struct {
	*Bundle
	// document is the path of the document, raw its bytes, and signatures those beside it, by the endings of their names.
	document   string
	raw        []byte
	signatures map[string][]byte
	// files are the paths of the volumes, empty for those that were not found, and copies all paths of each, those with the right size first. Of several,
	// the one in files is that which was read last.
	files  []string
	copies [][]string
	// extra are files that have names of volumes of this bundle, and are none.
	extra []string
}

// openSet finds a bundle by folders, and perhaps its document. Where no folder has a document, it is looked for in pending: that of a bundle whose
// volumes are in the folders.
func openSet(paths []string, pending string) (*set, error) {
	var folders, found []string
	for _, path := range paths {
		info, err := os.Stat(path)
		switch {
		case err != nil:
			return nil, err //nolint:wrapcheck // it names the file
		case info.IsDir():
			folders = append(folders, path)
			continue
		}
		if _, _, ok := parseDocumentName(filepath.Base(path)); !ok {
			return nil, fmt.Errorf("%s: %w: name a folder, or such a file", path, ErrNoBundle)
		}
		folders, found = append(folders, filepath.Dir(path)), append(found, path)
	}
	files, err := list(folders)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		found = documentsAmong(files)
	}
	if len(found) == 0 && pending != "" {
		found = pendingFor(files, pending)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s: %w", strings.Join(paths, ", "), ErrNoBundle)
	}
	for _, other := range found[1:] {
		if filepath.Base(other) != filepath.Base(found[0]) {
			return nil, fmt.Errorf("there are several bundles, such as %s and %s: name one of these", found[0], other)
		}
	}
	var first error
	for _, document := range found {
		s, err := readSet(document, files)
		if err == nil {
			return s, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

// signatures reads the signatures beside a file.
func signatures(path string) (map[string][]byte, error) {
	found := map[string][]byte{}
	for _, ending := range signature.FileEndings() {
		text, err := file.Read(path+ending, signature.MaxFileSignature)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		found[ending] = bytes.TrimPrefix(text, []byte("\ufeff")) // which Windows writes
	}
	return found, nil
}

// verify checks who has signed the document, and returns the name of a key; empty where no keys are given.
func (s *set) verify(keys []signature.FileKey) (string, error) {
	if len(keys) == 0 {
		return "", nil
	}
	signer, err := signature.VerifyFile(s.raw, keys, s.signatures)
	if err != nil {
		return "", fmt.Errorf("%s: %w", s.document, err)
	}
	return signer, nil
}

// list returns the paths of what is in folders.
func list(folders []string) (files []string, err error) {
	for _, dir := range folders {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, err //nolint:wrapcheck // it names the folder
		}
		for _, e := range entries {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	return files, nil
}

func documentsAmong(files []string) []string {
	return slices.DeleteFunc(slices.Clone(files), func(path string) bool {
		_, _, ok := parseDocumentName(filepath.Base(path))
		return !ok
	})
}

// pendingFor returns the documents in a folder that volumes among the files belong to.
func pendingFor(files []string, pending string) (found []string) {
	for _, path := range files {
		name, ok := volumeOf(filepath.Base(path))
		if !ok {
			continue
		}
		document := filepath.Join(pending, name+documentEnding)
		if _, err := os.Stat(document); err == nil && !slices.Contains(found, document) {
			found = append(found, document)
		}
	}
	return found
}

func readSet(document string, files []string) (*set, error) {
	raw, err := file.Read(document, maxDocument)
	if err != nil {
		return nil, err
	}
	b, err := Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%s is damaged, or not the document of a bundle: %w", document, err)
	}
	if filepath.Base(document) != b.documentName() {
		return nil, fmt.Errorf("%s is the document of bundle %s: it has another name", document, b.Name())
	}
	signed, err := signatures(document)
	if err != nil {
		return nil, err
	}
	s := &set{Bundle: b, document: document, raw: raw, signatures: signed, files: make([]string, len(b.Volumes)), copies: make([][]string, len(b.Volumes))}
	at, right := map[string]int{}, make([]int, len(b.Volumes))
	for i, v := range b.Volumes {
		at[v.Name] = i
	}
	for _, path := range files {
		name := filepath.Base(path)
		i, ok := at[name]
		if !ok {
			if b.namesVolume(name) {
				s.extra = append(s.extra, name)
			}
			continue
		}
		if slices.Contains(s.copies[i], path) {
			continue
		}
		if info, err := os.Stat(path); err == nil && info.Size() == b.Volumes[i].Size {
			s.copies[i] = slices.Insert(s.copies[i], right[i], path)
			right[i]++
		} else {
			s.copies[i] = append(s.copies[i], path)
		}
		s.files[i] = s.copies[i][0]
	}
	return s, nil
}

// nameOf returns what problems call a volume that was found: its name, or of several copies the path.
func (s *set) nameOf(i int) string {
	if len(s.copies[i]) > 1 {
		return s.files[i]
	}
	return s.Volumes[i].Name
}

// sink takes content out of volumes.
type sink interface {
	// begin returns what takes the bytes of a part: a writer, and hashes. Without a writer the part is not wanted.
	begin(ctx context.Context, p Part) (io.Writer, []io.Writer, error)
	// end says that the part is over, and whether all of it was read. It returns what is wrong with the content.
	end(p Part, all bool) (string, error)
}

// scan reads a volume, compares it with what it has to be, and gives its content to a sink. What is wrong with the volume is among the problems; an
// error is one of the sink, or the end of ctx. After a damage the rest is read all the same.
func (s *set) scan(ctx context.Context, i int, buffer []byte, to sink) ([]Problem, error) {
	v, name := s.Volumes[i], s.nameOf(i)
	r := volumeReader{ctx: ctx, buffer: buffer, whole: sha256.New(), to: to}
	problem := func(d image.Digest, format string, args ...any) {
		r.problems = append(r.problems, Problem{File: name, Digest: d, Text: fmt.Sprintf(format, args...)})
	}
	f, err := file.Open(s.files[i])
	if err != nil {
		problem("", "cannot be read: %v", err)
		return r.problems, nil
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		problem("", "cannot be read: %v", err)
		return r.problems, nil
	case info.Size() != v.Size:
		problem("", "has %d bytes, and %d are wanted", info.Size(), v.Size)
	}
	r.f, r.size, r.problem = f, info.Size(), problem
	if err := s.stretches(i, r.stretch); err != nil {
		return r.problems, err
	}
	if !r.torn && len(r.problems) == 0 && digestOf(r.whole) != v.Digest {
		problem("", "does not match its SHA-256")
	}
	return r.problems, nil
}

// volumeReader is the state of a scan.
type volumeReader struct {
	ctx context.Context //nolint:containedctx // stretch is called by what knows no context
	f   io.ReaderAt
	// at is where the next byte is, and size how many there are.
	at, size int64
	buffer   []byte
	whole    hash.Hash
	to       sink
	problem  func(d image.Digest, format string, args ...any)
	problems []Problem
	// torn is set once something could not be read.
	torn bool
}

// next reads n bytes, at most those of the buffer. It reports whether it could.
func (r *volumeReader) next(n int64) ([]byte, bool) {
	b := r.buffer[:n]
	got, err := r.f.ReadAt(b, r.at)
	r.at += n
	if int64(got) == n {
		return b, true
	}
	if !r.torn {
		why := "ends there"
		if !errors.Is(err, io.EOF) {
			why = "cannot be read: " + err.Error()
		}
		r.problem("", "at byte %d it %s", r.at-n+int64(got), why)
	}
	r.torn = true
	return nil, false
}

func (r *volumeReader) stretch(s stretch) error {
	wrong := false
	for known := s.known; len(known) > 0; {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		n := min(int64(len(known)), chunk)
		b, ok := r.next(n)
		if ok {
			_, _ = r.whole.Write(b) // a hash never fails
			wrong = wrong || !slices.Equal(b, known[:n])
		}
		known = known[n:]
	}
	if wrong {
		r.problem("", "at byte %d it is not what the bundle lists", r.at-int64(len(s.known)))
	}
	if s.part.Digest == "" {
		return nil
	}
	return r.part(s.part)
}

func (r *volumeReader) part(p Part) error {
	out, sums, err := r.to.begin(r.ctx, p)
	if err != nil {
		return err
	}
	all := true
	for left := p.Size; left > 0; {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		n := min(left, chunk)
		left -= n
		b, ok := r.next(n)
		if all = all && ok; !ok {
			if r.at > r.size { // a short file, of which a great length may be listed
				r.at += left
				left = 0
			}
			continue
		}
		if out == nil {
			_, _ = r.whole.Write(b) // a hash never fails
			continue
		}
		if err := together(b, out, append(sums, r.whole)...); err != nil {
			return err
		}
	}
	if out == nil {
		return nil
	}
	wrong, err := r.to.end(p, all)
	if wrong != "" {
		r.problem(p.Digest, "%s", wrong)
	}
	return err
}
