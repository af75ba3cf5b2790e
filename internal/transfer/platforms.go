package transfer

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
)

// selectPlatforms returns the index with only the wanted platforms. It is a function of the index and the platforms alone:
// the entries that stay are verbatim and in their order, all other fields too; attestations stay with the platform that they
// describe. An index of which everything stays is returned as it is. A platform that no entry offers is refused.
func selectPlatforms(m image.Manifest, wanted []image.Platform) (image.Manifest, error) {
	n, err := parse(m)
	if err != nil {
		return m, err
	}
	keep, err := chosen(n.entries, wanted)
	if err != nil {
		return m, err
	}
	if len(keep) == len(n.entries) {
		return m, nil
	}
	raw, err := withManifests(m.Raw, keep)
	if err != nil {
		return m, fmt.Errorf("manifest %s: %w", m.Digest, err)
	}
	return image.Manifest{
		Descriptor: image.Descriptor{MediaType: m.MediaType, Digest: image.DigestOf(raw, m.Digest), Size: int64(len(raw))},
		Raw:        raw,
	}, nil
}

// chosen returns the places of the entries that stay.
func chosen(entries []child, wanted []image.Platform) ([]int, error) {
	var missing, offered []string
	kept := map[image.Digest]bool{}
	for _, w := range wanted {
		found := false
		for _, c := range entries {
			if c.describes == "" && w.Matches(c.platform) {
				kept[c.Digest], found = true, true
			}
		}
		if !found {
			missing = append(missing, w.String())
		}
	}
	for _, c := range entries {
		if name := c.platform.String(); c.describes == "" && c.platform.OS != "" && c.platform.OS != "unknown" && !slices.Contains(offered, name) {
			offered = append(offered, name)
		}
	}
	if len(missing) > 0 {
		return nil, &mirror.RefusedError{Reason: diff.PlatformMissing, Detail: fmt.Sprintf(
			"the source does not offer %s; it offers %s", strings.Join(missing, ", "), strings.Join(offered, ", "))}
	}
	var places []int
	for i, c := range entries {
		if kept[c.Digest] || c.describes != "" && kept[c.describes] {
			places = append(places, i)
		}
	}
	return places, nil
}

// withManifests returns the index raw with only those of its entries. It cuts the other entries out of the text instead of
// encoding the document anew, so that what stays is verbatim, the order of the fields included.
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

// locateManifests returns where the value of the top-level field "manifests" stands in raw, and its elements.
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
