package image

// Manifest is a manifest or an index as a registry keeps it: the bytes verbatim with what identifies them. The bytes are
// shared, never changed.
type Manifest struct {
	Descriptor
	Raw []byte
	// Via is the registry that gave it, where that is not the one that was asked.
	Via string
}
