package image

// Manifest is a manifest or an index as a registry keeps it: the bytes verbatim with what identifies them. The bytes are
// shared, never changed.
type Manifest struct {
	Descriptor
	Raw []byte
}
