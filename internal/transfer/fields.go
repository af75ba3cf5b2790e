package transfer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// The fields that parse reads, by the kind of object that has them.
const (
	documentFields   = "schemaVersion mediaType manifests config layers blobs"
	descriptorFields = "mediaType digest size urls annotations platform"
	platformFields   = "os architecture variant"
)

// checkFields refuses an ambiguous document: one with a duplicate field, of which some programs use the first and some the last, or with a
// known field in other letter case, which some programs accept. Otherwise something that another program finds below the document could be
// missing at the target. Unknown fields may be anything.
func checkFields(raw []byte) error {
	document, err := fields(raw, documentFields)
	if err != nil {
		return err
	}
	descriptors := []json.RawMessage{document["config"]}
	for _, name := range []string{"manifests", "layers", "blobs"} {
		var list []json.RawMessage
		if value, ok := document[name]; ok {
			if err := json.Unmarshal(value, &list); err != nil {
				return err
			}
		}
		descriptors = append(descriptors, list...)
	}
	for _, d := range descriptors {
		parts, err := fields(d, descriptorFields)
		if err != nil {
			return err
		}
		if _, err := fields(parts["platform"], platformFields); err != nil {
			return err
		}
		if _, err := fields(parts["annotations"], ""); err != nil {
			return err
		}
	}
	return nil
}

// fields returns the fields of an object; none if raw is not an object. It refuses duplicates, and names that differ from a known one only
// in case.
func fields(raw json.RawMessage, known string) (map[string]json.RawMessage, error) {
	found, names := map[string]json.RawMessage{}, strings.Fields(known)
	decoder := json.NewDecoder(bytes.NewReader(raw))
	if first, err := decoder.Token(); err != nil || first != json.Delim('{') {
		return found, nil //nolint:nilerr // a non-object was refused before, where it matters
	}
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		name, _ := token.(string) // object keys are strings
		if _, twice := found[name]; twice {
			return nil, fmt.Errorf("the field %q appears twice", name)
		}
		if i := slices.IndexFunc(names, func(n string) bool { return n != name && strings.EqualFold(n, name) }); i >= 0 {
			return nil, fmt.Errorf("the field %q is spelt %q", names[i], name)
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return nil, err
		}
		found[name] = value
	}
	return found, nil
}
