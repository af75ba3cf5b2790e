package transfer

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
)

// selectPlatforms returns the index with the wanted platforms only. The result depends on the index and the platforms alone: the remaining
// entries and all other fields stay verbatim and in order, and attestations stay with the platform that they describe. An index from which
// nothing is removed is returned unchanged. If the index has some of the platforms, short says which others it lacks that are not optional;
// an index that has none of them is an error.
func selectPlatforms(m image.Manifest, wanted []image.Platform) (selected image.Manifest, short, err error) {
	n, err := parse(m)
	if err != nil {
		return m, nil, err
	}
	keep, short := chosen(n.entries, wanted)
	switch len(keep) {
	case 0:
		return m, nil, short
	case len(n.entries):
		return m, short, nil
	}
	raw, err := withManifests(m.Raw, keep)
	if err != nil {
		return m, nil, fmt.Errorf("manifest %s: %w", m.Digest, err)
	}
	return image.Manifest{
		Descriptor: image.Descriptor{MediaType: m.MediaType, Digest: image.DigestOf(raw, m.Digest), Size: int64(len(raw))},
		Raw:        raw,
	}, short, nil
}

// chosen returns the indexes of the remaining entries, and an error that names the platforms that are missing.
func chosen(entries []child, wanted []image.Platform) (indexes []int, short error) {
	var missing, optional []string
	kept := map[image.Digest]bool{}
	for _, w := range wanted {
		found := false
		for _, c := range entries {
			if c.describes == "" && w.Matches(c.platform) {
				kept[c.Digest], found = true, true
			}
		}
		switch {
		case found:
		case w.Optional:
			w.Optional = false
			optional = append(optional, w.String())
		default:
			missing = append(missing, w.String())
		}
	}
	if len(kept) == 0 {
		missing = append(missing, optional...)
	}
	if len(missing) > 0 {
		short = shortage(missing, entries, len(kept) > 0)
	}
	for i, c := range entries {
		if kept[c.Digest] || c.describes != "" && kept[c.describes] {
			indexes = append(indexes, i)
		}
	}
	return indexes, short
}

// shortage returns the error that names the missing platforms and those offered, and the way out if there are others to import.
func shortage(missing []string, entries []child, others bool) error {
	var offered []string
	for _, c := range entries {
		if name := c.platform.String(); c.describes == "" && c.platform.OS != "" && c.platform.OS != "unknown" && !slices.Contains(offered, name) {
			offered = append(offered, name)
		}
	}
	detail := fmt.Sprintf("the source does not offer %s; it offers %s", strings.Join(missing, ", "), cmp.Or(strings.Join(offered, ", "), "none by name"))
	if slices.ContainsFunc(entries, func(c child) bool { return image.IsIndex(c.MediaType) && c.platform.OS == "" }) {
		detail += "; it also has an index without a platform, into which platforms does not look"
	}
	if others {
		detail += "; platforms.missing: skip does without"
	}
	return &mirror.RefusedError{Reason: diff.PlatformMissing, Detail: detail}
}

// maxConfig limits the config of an image, in bytes; real ones have some ten thousand.
const maxConfig = 4 << 20

// admit checks an image without an index by the same rule as an index. What has no platform, such as an artifact, passes.
func (e *Engine) admit(ctx context.Context, source image.Reference, m image.Manifest, wanted []image.Platform) (short, err error) {
	n, err := parse(m)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(n.blobs, func(b blob) bool { return isConfig(b.MediaType) })
	if i < 0 {
		return nil, nil
	}
	p, err := e.platformOf(ctx, source.Repository, n.blobs[i])
	if err != nil {
		return nil, mirror.At(mirror.Source, source, fmt.Errorf("config: %w", err))
	}
	if p.OS == "" && p.Architecture == "" {
		return nil, nil
	}
	keep, short := chosen([]child{{Descriptor: m.Descriptor, platform: p}}, wanted)
	if len(keep) > 0 {
		return short, nil
	}
	return nil, short
}

func isConfig(mediaType string) bool {
	return mediaType == "application/vnd.oci.image.config.v1+json" || mediaType == "application/vnd.docker.container.image.v1+json"
}

// platformOf reads the platform in the config of an image.
func (e *Engine) platformOf(ctx context.Context, repo image.Repository, config blob) (image.Platform, error) {
	if config.Size > maxConfig {
		return image.Platform{}, fmt.Errorf("it has %d bytes, more than %d", config.Size, maxConfig)
	}
	raw := config.data
	if raw == nil {
		body, err := e.options.Source.OpenBlob(ctx, repo, config.Descriptor, 0, nil)
		if err != nil {
			return image.Platform{}, err
		}
		defer func() { _ = body.Close() }() // only read
		if raw, err = io.ReadAll(io.LimitReader(body, config.Size+1)); err != nil {
			return image.Platform{}, err
		}
	}
	if image.DigestOf(raw, config.Digest) != config.Digest {
		e.options.Source.Doubt(config.Digest)
		return image.Platform{}, fmt.Errorf("%s: %w", config.Digest, image.ErrCorrupt)
	}
	var p struct{ OS, Architecture, Variant string }
	if err := json.Unmarshal(raw, &p); err != nil {
		return image.Platform{}, fmt.Errorf("%s is not a JSON document: %w", config.Digest, err)
	}
	return image.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant}.Normal(), nil
}

// withManifests returns the index raw with those of its entries only. It cuts the other entries out of the text instead of encoding the
// document again, so that the rest stays verbatim, in the same order.
func withManifests(raw []byte, keep []int) ([]byte, error) {
	start, end, entries, err := locateManifests(raw)
	if err != nil {
		return nil, err
	}
	parts := make([]string, 0, len(keep))
	for _, i := range keep {
		parts = append(parts, string(entries[i]))
	}
	return slices.Concat(raw[:start], []byte("["+strings.Join(parts, ",")+"]"), raw[end:]), nil
}

// locateManifests returns the position of the top-level field "manifests" in raw, and its elements.
func locateManifests(raw []byte) (start, end int, entries []json.RawMessage, err error) {
	decoder := json.NewDecoder(strings.NewReader(string(raw)))
	if _, err := decoder.Token(); err != nil {
		return 0, 0, nil, err
	}
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return 0, 0, nil, err
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return 0, 0, nil, err
		}
		if key == "manifests" {
			end = int(decoder.InputOffset())
			start = end - len(value)
			err := json.Unmarshal(value, &entries)
			return start, end, entries, err
		}
	}
	return 0, 0, nil, fmt.Errorf("the index has no manifests")
}
