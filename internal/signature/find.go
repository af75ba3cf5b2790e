package signature

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/draysync/dray/internal/image"
)

// The bounds of what is looked at for one image.
const (
	// maxManifests is how many manifests are fetched.
	maxManifests = 64
	// maxSignatures is how many signatures one manifest may have.
	maxSignatures = 64
	// maxBytes is the size of a manifest, and of a signed payload. maxFetched is that of all payloads together.
	maxBytes   = 1 << 20
	maxFetched = 32 << 20
	// maxAnnotations is how many annotations of a signature are shown.
	maxAnnotations = 20
)

// The media types of signatures.
const (
	mediaSimpleSigning  = "application/vnd.dev.cosign.simplesigning.v1+json"
	mediaDSSE           = "application/vnd.dsse.envelope.v1+json"
	mediaBundle         = "application/vnd.dev.sigstore.bundle"
	mediaCosignArtifact = "application/vnd.dev.cosign.artifact.sig.v1+json"
	mediaNotation       = "application/vnd.cncf.notary.signature"
	mediaEmpty          = "application/vnd.oci.empty.v1+json"
	annotationSignature = "dev.cosignproject.cosign/signature"
)

// Source is a registry, as far as signatures need it.
type Source interface {
	// Head describes a manifest; its error wraps [image.ErrAbsent] if there is none.
	Head(ctx context.Context, ref image.Reference) (image.Descriptor, error)
	Referrers(ctx context.Context, repo image.Repository, d image.Digest) ([]image.Referrer, error)
	// Manifest fetches a manifest by digest, and has checked that. If the registry does not have it and gives another one for the reference's tag, the
	// error is an [image.MovedError].
	Manifest(ctx context.Context, ref image.Reference) (image.Manifest, error)
	// OpenBlob opens a blob, whose bytes are unchecked.
	OpenBlob(ctx context.Context, repo image.Repository, d image.Descriptor, offset int64, urls []string) (io.ReadCloser, error)
}

// Verify looks for signatures of an image, which is given by digest, until the policy is satisfied. What cosign attaches by tag comes first,
// as that takes the fewest requests. An error means that something could not be looked at.
func (p Policy) Verify(ctx context.Context, source Source, ref image.Reference) (Report, error) {
	f := finder{Policy: p, source: source, of: ref.Repository, repo: p.At(ref).Repository, image: ref.Digest}
	if p.Platforms {
		return f.each(ctx)
	}
	return f.look(ctx)
}

// look looks for signatures of the finder's image.
func (f *finder) look(ctx context.Context) (Report, error) {
	suffixes := []string{".sig"}
	if len(f.Attestations) > 0 || f.All {
		suffixes = append(suffixes, ".att")
	}
	var errs []error // of what could not be looked at, which does not matter if the rest is enough
	for _, suffix := range suffixes {
		errs = append(errs, f.tagged(ctx, suffix))
	}
	if !f.satisfied() {
		errs = append(errs, f.referrers(ctx))
	}
	r := f.verdict(f.found)
	if err := errors.Join(errs...); err != nil && (!r.Verified || ctx.Err() != nil) {
		return Report{}, err
	}
	if !r.Verified && f.repo != f.of {
		r.Problem += "; signatures were looked for at " + f.repo.String()
	}
	return r, nil
}

// finder is one look.
type finder struct {
	Policy
	source Source
	// of has the image, and repo its signatures.
	of, repo image.Repository
	image    image.Digest
	found    []Signature
	fetched  int
	// blobs are payloads by digest, and bytes is their size.
	blobs map[image.Digest][]byte
	bytes int
	// keyless is how often a certificate was verified.
	keyless int
}

func (f *finder) satisfied() bool { return !f.All && f.verdict(f.found).Verified }

func (f *finder) add(s Signature) { f.found = append(f.found, s) }

// tagged looks at what cosign attaches by tag.
func (f *finder) tagged(ctx context.Context, suffix string) error {
	tag := f.repo.Tag(f.image.Algorithm().String() + "-" + f.image.Encoded() + suffix)
	if !image.ValidTag(tag.Tag) { // too long, as of sha512
		return nil
	}
	d, err := f.source.Head(ctx, tag)
	if errors.Is(err, image.ErrAbsent) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("signatures at %s: %w", tag, err)
	}
	return f.manifest(ctx, tag.WithDigest(d.Digest), d.Size, CosignTag)
}

// referrers looks at the manifests that refer to the image.
func (f *finder) referrers(ctx context.Context) error {
	list, err := f.source.Referrers(ctx, f.repo, f.image)
	if err != nil && !errors.Is(err, image.ErrAbsent) {
		return fmt.Errorf("referrers of %s: %w", f.repo.Digest(f.image), err)
	}
	list = slices.DeleteFunc(slices.Clone(list), func(r image.Referrer) bool { return formOf(r.ArtifactType) == "" })
	slices.Reverse(list) // the newest are the last, where a tag has the list
	slices.SortStableFunc(list, func(a, b image.Referrer) int { return f.rank(a) - f.rank(b) })
	var errs []error
	for _, r := range list {
		form := formOf(r.ArtifactType)
		switch {
		case form == Notation:
			f.add(Signature{Form: form, Manifest: string(r.Digest)}.not(Unsupported, "it is a signature of Notation"))
			continue
		case f.fetched >= maxManifests:
			f.add(Signature{Form: form, Manifest: string(r.Digest)}.not(TooMany, "%d manifests were looked at, and there are more", maxManifests))
			return errors.Join(errs...)
		}
		errs = append(errs, f.manifest(ctx, f.repo.Digest(r.Digest), r.Size, form))
		if f.satisfied() || ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}

// formOf returns the form of a referrer by its artifact type; empty if it is nothing signed. Some clients have written an empty type, or none, into
// the list of a registry without the referrers API.
func formOf(artifactType string) Form {
	switch {
	case strings.HasPrefix(artifactType, mediaBundle), artifactType == mediaEmpty, artifactType == "":
		return Bundle
	case artifactType == mediaCosignArtifact:
		return CosignReferrer
	case artifactType == mediaNotation:
		return Notation
	}
	return ""
}

// rank orders referrers: what says that it is wanted, then what says nothing, then the rest.
func (f *finder) rank(r image.Referrer) int {
	switch {
	case r.Predicate == predicateSignature, r.ArtifactType == mediaCosignArtifact, slices.Contains(f.Attestations, r.Predicate):
		return 0
	case r.Predicate == "" && strings.HasPrefix(r.ArtifactType, mediaBundle):
		return 1
	case r.Predicate == "":
		return 2
	}
	return 3
}

// manifest looks at one manifest with signatures. If it is tagged, what the registry gives for the tag is looked at in place of a digest that it named
// and does not have.
func (f *finder) manifest(ctx context.Context, ref image.Reference, size int64, form Form) error {
	f.fetched++
	found := Signature{Form: form, Manifest: string(ref.Digest)}
	if size > maxBytes {
		f.add(found.not(Unreadable, "its manifest is larger than %d bytes", maxBytes))
		return nil
	}
	m, err := f.source.Manifest(ctx, ref)
	if moved, ok := errors.AsType[*image.MovedError](err); ok {
		found.Manifest = string(moved.Now.Digest)
		m, err = f.source.Manifest(ctx, ref.WithDigest(moved.Now.Digest))
	}
	if errors.Is(err, image.ErrAbsent) {
		f.add(found.not(Unreadable, "it is listed, but its manifest is not there"))
		return nil
	}
	if err != nil {
		return fmt.Errorf("signature %s: %w", ref, err)
	}
	var doc struct {
		Layers []layer `json:"layers"`
	}
	if len(m.Raw) > maxBytes || json.Unmarshal(m.Raw, &doc) != nil {
		f.add(found.not(Unreadable, "its manifest cannot be read"))
		return nil
	}
	if len(doc.Layers) > maxSignatures {
		f.add(found.not(TooMany, "it has more than %d signatures", maxSignatures))
		doc.Layers = doc.Layers[len(doc.Layers)-maxSignatures:] // cosign appends
	}
	var errs []error
	for _, l := range doc.Layers {
		errs = append(errs, f.layer(ctx, l, found))
	}
	return errors.Join(errs...)
}

// layer is one of a manifest with signatures.
type layer struct {
	MediaType   string            `json:"mediaType"`
	Digest      image.Digest      `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations"`
}

// layer looks at one signature.
func (f *finder) layer(ctx context.Context, l layer, found Signature) error {
	kind := l.MediaType
	switch {
	case kind == mediaSimpleSigning, kind == mediaDSSE, strings.HasPrefix(kind, mediaBundle):
	default:
		return nil // something else
	}
	raw, problem, err := f.blob(ctx, l)
	if err != nil {
		return err
	}
	if problem != "" {
		f.add(found.not(Unreadable, "%s", problem))
		return nil
	}
	switch kind {
	case mediaSimpleSigning:
		if l.Annotations[AnnotationCertificate] != "" {
			found = f.certifiedSimple(raw, l.Annotations, found)
		}
		f.add(f.judgeSimple(f.image, raw, l.Annotations[annotationSignature], found))
	case mediaDSSE:
		var e envelope
		if json.Unmarshal(raw, &e) != nil {
			f.add(found.not(Unreadable, "it is no DSSE envelope"))
			return nil
		}
		if l.Annotations[AnnotationCertificate] != "" {
			found = f.certifiedEnvelope(e, l.Annotations, found)
		}
		f.add(f.judgeEnvelope(f.image, e, found))
	default:
		f.add(f.judgeBundle(raw, found))
	}
	return nil
}

// bundle is a Sigstore bundle (sigstore/protobuf-specs, "sigstore_bundle.proto").
type bundle struct {
	Material struct {
		Certificate json.RawMessage `json:"certificate"`
		Chain       json.RawMessage `json:"x509CertificateChain"`
	} `json:"verificationMaterial"`
	Envelope *envelope `json:"dsseEnvelope"`
}

func (f *finder) judgeBundle(raw []byte, found Signature) Signature {
	var b bundle
	switch {
	case json.Unmarshal(raw, &b) != nil:
		return found.not(Unreadable, "it is no Sigstore bundle")
	case b.Envelope == nil:
		return found.not(Unsupported, "it is a bundle without a DSSE envelope")
	}
	if len(b.Material.Certificate)+len(b.Material.Chain) > 0 {
		found = f.certifiedBundle(raw, *b.Envelope, found)
	}
	return f.judgeEnvelope(f.image, *b.Envelope, found)
}

// blob fetches what a layer holds. problem says why it cannot be used.
func (f *finder) blob(ctx context.Context, l layer) (raw []byte, problem string, err error) {
	d, err := image.ParseDigest(string(l.Digest))
	switch {
	case err != nil:
		return nil, "a layer of its manifest has no digest", nil
	case l.Size > maxBytes:
		return nil, fmt.Sprintf("it is larger than %d bytes", maxBytes), nil
	case f.blobs[d] != nil:
		return f.blobs[d], "", nil
	case f.bytes >= maxFetched:
		return nil, fmt.Sprintf("%d bytes were read for this image, and there is more", maxFetched), nil
	}
	body, err := f.source.OpenBlob(ctx, f.repo, image.Descriptor{MediaType: l.MediaType, Digest: d, Size: l.Size}, 0, nil)
	if errors.Is(err, image.ErrAbsent) {
		return nil, "it is not there", nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("signature %s: %w", f.repo.Digest(d), err)
	}
	defer body.Close()
	raw, err = io.ReadAll(io.LimitReader(body, maxBytes+1))
	switch {
	case err != nil:
		return nil, "", fmt.Errorf("signature %s: %w", f.repo.Digest(d), err)
	case len(raw) > maxBytes:
		return nil, fmt.Sprintf("it is larger than %d bytes", maxBytes), nil
	case image.DigestOf(raw, d) != d:
		return nil, "", fmt.Errorf("signature %s: %w", f.repo.Digest(d), image.ErrCorrupt)
	}
	if f.blobs == nil {
		f.blobs = map[image.Digest][]byte{}
	}
	f.blobs[d] = raw
	f.bytes += len(raw)
	return raw, "", nil
}
