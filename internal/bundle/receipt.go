package bundle

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/draysync/dray/internal/file"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/layout"
	"github.com/draysync/dray/internal/signature"
)

// Receipt is what a site says that it has of the last bundle that it has loaded.
type Receipt struct {
	Version int          `json:"version"`
	ID      string       `json:"id"`
	Seq     int          `json:"seq"`
	State   image.Digest `json:"state"`
	// Held is what the site has of the bundle's content, and Missing what it lacks.
	Held    []image.Digest `json:"held"`
	Missing []image.Digest `json:"missing"`
}

// codeLength is how many characters a receipt's code has without the dashes: 100 bits of a SHA-256.
const codeLength = 20

// code is a receipt for a bundle whose content is all there, for paper and phone.
func code(id string, seq int, state image.Digest) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "dray-receipt-1 %s %d %s", id, seq, state))
	text := base32.StdEncoding.EncodeToString(sum[:])[:codeLength]
	return text[:5] + "-" + text[5:10] + "-" + text[10:15] + "-" + text[15:]
}

// Code is the receipt in 20 characters; empty if anything is missing, which so few cannot say.
func (r Receipt) Code() string {
	if len(r.Missing) > 0 {
		return ""
	}
	return code(r.ID, r.Seq, r.State)
}

// ErrNothingLoaded says that a folder has no record of a bundle of a site.
var ErrNothingLoaded = errors.New("no bundle was loaded completely")

// MakeReceipt reads what the layouts of a folder have of the last bundle of a site that was loaded completely. It looks at each blob, since what was
// loaded may be gone.
func MakeReceipt(ctx context.Context, into, id string) (Receipt, error) {
	if err := CheckID(id); err != nil {
		return Receipt{}, err
	}
	if _, err := os.Stat(filepath.Join(into, stateDir)); err != nil {
		return Receipt{}, fmt.Errorf("%s: %w here", into, ErrNothingLoaded)
	}
	f, err := openFolder(into)
	if err != nil {
		return Receipt{}, err
	}
	defer f.close()
	raw, err := file.Read(f.loadedDocument(id), maxDocument)
	if errors.Is(err, fs.ErrNotExist) {
		return Receipt{}, fmt.Errorf("%s: %w for the site %s; --id names another one", into, ErrNothingLoaded, id)
	}
	if err != nil {
		return Receipt{}, err
	}
	b, err := Parse(raw)
	if err != nil {
		return Receipt{}, fmt.Errorf("%s: %w", f.loadedDocument(id), err)
	}
	r := Receipt{Version: version, ID: id, Seq: b.Seq, State: b.State, Held: []image.Digest{}, Missing: []image.Digest{}}
	l := &loader{Loaded: Loaded{Bundle: b}, root: into, store: layout.New()}
	p := &pool{dir: f.poolDir(id), store: l.store, repos: l.repos(), size: b.sizes(), where: map[image.Digest]string{}, lacks: map[image.Digest]bool{}}
	for _, c := range b.contents() {
		has, err := p.has(ctx, c.Digest)
		switch {
		case err != nil:
			return r, err
		case has:
			r.Held = append(r.Held, c.Digest)
		default:
			r.Missing = append(r.Missing, c.Digest)
		}
	}
	return r, nil
}

// Acknowledged is what Acknowledge has recorded.
type Acknowledged struct {
	ID  string
	Seq int
	// Held and Missing count the content of the bundle.
	Held, Missing int
	// Known is set if that was known already.
	Known bool
}

var (
	// ErrReceipt says that a receipt is not one of a bundle that was made from a folder.
	ErrReceipt = errors.New("it is the receipt of no bundle that was made here")
	// ErrOlderReceipt says that a newer bundle was acknowledged before.
	ErrOlderReceipt = errors.New("a newer bundle was acknowledged before")
)

// ReadReceipt reads the file of a receipt, which must be signed by one of the keys if there are any.
func ReadReceipt(path string, keys []signature.FileKey) (string, error) {
	raw, err := file.Read(path, maxDocument)
	if err != nil || len(keys) == 0 {
		return string(raw), err
	}
	found, err := signatures(path)
	if err != nil {
		return "", err
	}
	if _, err := signature.VerifyFile(raw, keys, found); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return string(raw), nil
}

// Acknowledge records the receipt of a site, its code or its JSON, in the folder that its bundles are made from. An older receipt than the last one is
// refused, unless that is allowed: it would have the site be sent what it has.
func Acknowledge(from, id, text string, older bool) (Acknowledged, error) {
	if err := CheckID(id); err != nil {
		return Acknowledged{}, err
	}
	if _, err := os.Stat(filepath.Join(from, stateDir)); err != nil { // before a folder is made
		return Acknowledged{}, fmt.Errorf("%w: none was made from %s (%w)", ErrReceipt, from, err)
	}
	f, err := openFolder(from)
	if err != nil {
		return Acknowledged{}, err
	}
	defer f.close()
	a, b, err := f.receipt(id, text)
	if err != nil {
		return Acknowledged{}, err
	}
	known, err := f.acknowledged(id)
	if err != nil {
		return Acknowledged{}, err
	}
	if a.Seq < known.Seq && !older {
		return Acknowledged{}, fmt.Errorf("%w: %s, and this is %s; --allow-older accepts it all the same", ErrOlderReceipt, prefix(id, known.Seq), b.Name())
	}
	raw, err := json.Marshal(a)
	if err != nil {
		return Acknowledged{}, err
	}
	was, err := json.Marshal(known)
	if err != nil {
		return Acknowledged{}, err
	}
	done := Acknowledged{ID: id, Seq: a.Seq, Held: len(b.contents()), Known: string(raw) == string(was)}
	if a.Held != nil {
		done.Held, done.Missing = len(a.Held), done.Held-len(a.Held)
	}
	return done, file.Replace(f.ackPath(id), raw, 0o644)
}

// receipt reads a receipt, and finds the bundle that it is for.
func (f *folder) receipt(id, text string) (acknowledgement, *Bundle, error) {
	text = strings.TrimSpace(strings.TrimPrefix(text, "\ufeff"))
	if strings.HasPrefix(text, "{") {
		return f.fileReceipt(id, text)
	}
	a := acknowledgement{Version: version, ID: id}
	said := characters(text)
	if len(said) != codeLength {
		return a, nil, fmt.Errorf("%w: %.60q is neither %d characters nor a file that is there", ErrReceipt, text, codeLength)
	}
	all, err := documents(filepath.Join(f.dir, sentDir), id)
	if err != nil {
		return a, nil, err
	}
	var damaged error
	for _, seq := range all {
		b, err := f.sentBundle(id, seq)
		if err != nil { // the receipt may be that of another one
			damaged = errors.Join(damaged, err)
			continue
		}
		if characters(code(id, seq, b.State)) == said {
			a.Seq = seq
			return a, b, nil
		}
	}
	return a, nil, errors.Join(fmt.Errorf("%w for the site %s; --id names another one", ErrReceipt, id), damaged)
}

// characters are those of a receipt's code, however it was written down: alone, or in the line that names the bundle.
func characters(text string) string {
	text = text[strings.LastIndexByte(text, ':')+1:]
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, strings.ToUpper(text))
}

// fileReceipt reads a receipt in JSON.
func (f *folder) fileReceipt(id, text string) (acknowledgement, *Bundle, error) {
	a := acknowledgement{Version: version, ID: id}
	var r Receipt
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return a, nil, fmt.Errorf("the receipt cannot be read: %w", err)
	}
	if r.Version != version || r.ID != id {
		return a, nil, fmt.Errorf("%w: it is of the site %q", ErrReceipt, r.ID)
	}
	b, err := f.sentBundle(id, r.Seq)
	if err != nil {
		return a, nil, err
	}
	if b.State != r.State {
		return a, nil, fmt.Errorf("%w: its state is not that of %s", ErrReceipt, b.Name())
	}
	a.Seq = r.Seq
	if len(r.Missing) == 0 && len(r.Held) == len(b.contents()) {
		return a, b, nil
	}
	sizes := b.sizes()
	a.Held = []image.Digest{}
	for _, d := range r.Held {
		if _, ok := sizes[d]; ok {
			a.Held = append(a.Held, d)
		}
	}
	return a, b, nil
}
