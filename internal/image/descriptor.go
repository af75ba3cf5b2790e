package image

// Descriptor describes content without its bytes (OCI image spec, "Content Descriptors").
type Descriptor struct {
	MediaType string
	Digest    Digest
	// Size is in bytes; 0 if the registry did not say.
	Size int64
}

// Referrer is an artifact that refers to a manifest: a signature, an SBOM, an attestation (OCI image spec, "subject").
type Referrer struct {
	Descriptor
	ArtifactType string
	// Predicate is what [PredicateAnnotation] says; empty if unknown.
	Predicate string
}

// PredicateAnnotation is the annotation with which a Sigstore bundle says what it holds. Nobody signs it.
const PredicateAnnotation = "dev.sigstore.bundle.predicateType"
