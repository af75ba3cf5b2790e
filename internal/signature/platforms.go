package signature

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/draysync/dray/internal/image"
)

// The bounds of an index of which each manifest has to be signed.
const (
	maxPlatforms = 64
	maxDepth     = 4
)

// each looks for signatures of all manifests that an index names, which together have the bounds of one image.
func (f *finder) each(ctx context.Context) (Report, error) {
	all, problem, err := f.below(ctx, f.image, map[image.Digest]bool{}, nil, 0)
	if err != nil || problem != nil {
		return Report{Signatures: []Signature{}}.not(problem), err
	}
	whole := Report{Verified: true, Signatures: []Signature{}}
	for _, d := range all {
		f.image, f.found = d, nil
		r, err := f.look(ctx)
		if err != nil {
			return Report{}, err
		}
		for _, s := range r.Signatures {
			s.Of = string(d)
			whole.Signatures = append(whole.Signatures, s)
		}
		if !r.Verified && whole.Verified {
			whole = whole.not(&Signature{Code: r.Code, Problem: image.ShortDigest(d) + ": " + r.Problem})
			if !f.All {
				break
			}
		}
	}
	return whole, nil
}

func (r Report) not(problem *Signature) Report {
	if problem != nil {
		r.Verified, r.Code, r.Problem = false, problem.Code, problem.Problem
	}
	return r
}

// below adds the manifests that an index names, each once, or the one that is none. seen are those that were named. problem says why it cannot be told what there is.
func (f *finder) below(ctx context.Context, d image.Digest, seen map[image.Digest]bool, found []image.Digest, depth int) ([]image.Digest, *Signature, error) {
	unreadable := &Signature{Code: Unreadable, Problem: "the index cannot be read"}
	m, err := f.source.Manifest(ctx, f.of.Digest(d))
	if err != nil {
		return nil, nil, fmt.Errorf("manifest %s: %w", f.of.Digest(d), err)
	}
	var doc struct {
		Manifests      []layer         `json:"manifests"`
		Config, Layers json.RawMessage // which an index has not
	}
	if json.Unmarshal(m.Raw, &doc) != nil || ambiguous(m.Raw, "annotations", "platform") || (doc.Manifests == nil) == image.IsIndex(m.MediaType) {
		return nil, unreadable, nil
	}
	if !image.IsIndex(m.MediaType) {
		return append(found, d), nil, nil
	}
	if doc.Config != nil || doc.Layers != nil || len(doc.Manifests) == 0 || depth == maxDepth {
		return nil, unreadable, nil
	}
	for _, entry := range doc.Manifests {
		child, err := image.ParseDigest(string(entry.Digest))
		switch {
		case err != nil:
			return nil, unreadable, nil
		case seen[child]:
			continue
		case len(seen) == maxPlatforms:
			return nil, &Signature{Code: TooMany, Problem: fmt.Sprintf("the index names more than %d manifests", maxPlatforms)}, nil
		}
		seen[child] = true
		if !image.IsIndex(entry.MediaType) {
			found = append(found, child)
			continue
		}
		var problem *Signature
		if found, problem, err = f.below(ctx, child, seen, found, depth+1); err != nil || problem != nil {
			return nil, problem, err
		}
	}
	return found, nil, nil
}

// ambiguous reports whether a JSON text is not an object that all readers read alike: one with a name that occurs twice in an object, or in two
// spellings that differ by case. The text has been unmarshalled, which bounds its depth. What is under the open names is not looked at: signers put anything there.
func ambiguous(text []byte, open ...string) bool {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	t, err := d.Token()
	if err != nil || t != json.Delim('{') || twice(d, open) {
		return true
	}
	_, err = d.Token()
	return !errors.Is(err, io.EOF) // more text
}

// twice reads the rest of an object.
func twice(d *json.Decoder, open []string) bool {
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return true
		}
		name := strings.ToLower(fmt.Sprint(t))
		if seen[name] {
			return true
		}
		seen[name] = true
		if slices.Contains(open, name) {
			var skipped json.RawMessage
			if d.Decode(&skipped) != nil {
				return true
			}
			continue
		}
		if inside(d, open) {
			return true
		}
	}
	_, err := d.Token()
	return err != nil
}

// inside reads one value.
func inside(d *json.Decoder, open []string) bool {
	t, err := d.Token()
	switch {
	case err != nil:
		return true
	case t == json.Delim('{'):
		return twice(d, open)
	case t != json.Delim('['):
		return false
	}
	for d.More() {
		if inside(d, open) {
			return true
		}
	}
	_, err = d.Token()
	return err != nil
}
