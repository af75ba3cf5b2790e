package signature

// For tests outside of the package, which use package keyless.
const (
	AnnotationSignature = annotationSignature
	MaxBytes            = maxBytes
	MaxDepth            = maxDepth
	MaxFetched          = maxFetched
	MaxManifests        = maxManifests
	MediaBundle         = mediaBundle
	MediaCosignArtifact = mediaCosignArtifact
	MediaDSSE           = mediaDSSE
	MediaEmpty          = mediaEmpty
	MediaNotation       = mediaNotation
	MediaSimpleSigning  = mediaSimpleSigning
	PredicateSignature  = predicateSignature
	TypeInToto          = typeInToto
	TypeSimpleSigning   = typeSimpleSigning
)

var Ambiguous = ambiguous

// Message is what the signatures of an envelope sign.
func Message(payloadType string, payload []byte) []byte {
	return envelope{PayloadType: payloadType}.message(payload)
}
