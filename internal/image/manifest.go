package image

// Manifest is a manifest or an index as stored by a registry: the verbatim bytes with what identifies them. The bytes are shared and never
// changed.
type Manifest struct {
	Descriptor
	Raw []byte
	// Via is the registry that sent it, if that is not the one that was asked.
	Via string
}
