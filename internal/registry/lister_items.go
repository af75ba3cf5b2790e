package registry

import (
	"encoding/json"
)

// itemsOf calls each with the items of an array one after another, so that only one takes memory. before are the fields in which the array lies,
// from the outermost; none for an array that is the whole answer. What else there is goes to other, which consumes its value; nil to skip it.
func itemsOf[T any](page *listing, before []string, each func(T), other func(key string, dec *json.Decoder) error) error {
	paced := &paced{r: page.Reader}
	dec := json.NewDecoder(paced)
	paced.dec = dec
	found, err := descend(dec, before, func() error {
		for dec.More() {
			var item T
			if err := dec.Decode(&item); err != nil {
				return err //nolint:wrapcheck // noList describes it
			}
			each(item)
		}
		return nil
	}, other)
	if err != nil || !found {
		return noList(page, err)
	}
	return nil
}

// descend reads a value: an array, whose items it leaves to items, below some fields.
func descend(dec *json.Decoder, before []string, items func() error, other func(string, *json.Decoder) error) (found bool, err error) {
	token, err := dec.Token()
	if err != nil {
		return false, err //nolint:wrapcheck // noList describes it
	}
	if len(before) == 0 {
		switch token {
		case nil:
			return true, nil // null is an empty array, too
		case json.Delim('['):
		default:
			return false, errNoList
		}
		if err := items(); err != nil {
			return true, err
		}
		_, err = dec.Token()
		return true, err //nolint:wrapcheck // noList describes it
	}
	if token != json.Delim('{') {
		return false, errNoList
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return found, err //nolint:wrapcheck // noList describes it
		}
		name, _ := key.(string)
		switch {
		case name == before[0]:
			found, err = descend(dec, before[1:], items, other)
		case other != nil:
			err = other(name, dec)
		default:
			err = skipValue(dec)
		}
		if err != nil {
			return found, err
		}
	}
	_, err = dec.Token()
	return found, err //nolint:wrapcheck // noList describes it
}
