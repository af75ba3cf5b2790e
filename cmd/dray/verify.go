package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"

	"github.com/spf13/cobra"

	"github.com/draysync/dray/internal/config"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/keyless"
	"github.com/draysync/dray/internal/registry"
	"github.com/draysync/dray/internal/report"
	"github.com/draysync/dray/internal/signature"
	"github.com/draysync/dray/internal/transfer"
	"github.com/draysync/dray/internal/worktime"
)

func (a *app) verifyCommand() *cobra.Command {
	var flags signers
	c := &cobra.Command{
		Use:   "verify IMAGE",
		Short: "Verify who has signed an image",
		Long: `Look for the signatures of an image, and verify them with public keys, or with the identity that a certificate
of Sigstore's names. dray reads what cosign writes: tags such as sha256-….sig, and Sigstore bundles that refer to
the image. It says which of the two it has found, since many programs read only one of them. It asks nobody but
the image's registry: what a keyless signature needs is in the trusted root, a file that
"cosign trusted-root create --with-default-services" makes.

  dray verify --key cosign.pub registry.example/team/app:v1
  dray verify --key old.pub --key new.pub ghcr.io/acme/app@sha256:…
  dray verify --key cosign.pub --attestation https://slsa.dev/provenance/v1 ghcr.io/acme/app:v1
  dray verify --trusted-root trusted_root.json --issuer https://token.actions.githubusercontent.com \
    --identity https://github.com/acme/app/.github/workflows/release.yml@refs/tags/v1 ghcr.io/acme/app:v1

  dray verify -c dray.yaml --policy acme ghcr.io/acme/app:v1

An attestation, such as provenance or an SBOM, is not a signature. Signatures of Notation are listed, but not
verified. A regular expression has to match all of the identity or issuer. A tag is resolved first, and what is
verified is printed with its digest: use that.

dray reads a config file only if --config or $DRAY_CONFIG names one, and only its registries and azure
sections, and the policy of its verify section that --policy names. IMAGE may also be in an OCI layout
(ocidir://DIR:TAG). The exit code is 3 if the image is not verified, and 1 if the registry cannot be asked.

` + exitHelp,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage("verify takes one IMAGE, got %d arguments", len(args))
			}
			policy, err := flags.policy()
			if err != nil {
				return err
			}
			cfg := &config.Config{Path: "dray verify", Azure: config.DefaultAzure()}
			if c.Flags().Changed("config") || a.env("DRAY_CONFIG") != "" {
				if cfg, _, err = a.load(); err != nil {
					return err
				}
			}
			if policy, err = flags.policyIn(cfg, policy); err != nil {
				return err
			}
			ref, err := image.ParseImage(args[0])
			if err != nil {
				return usage("IMAGE: %w", err)
			}
			return a.verify(c.Context(), cfg, cfg.Canonical(ref), policy)
		},
	}
	c.Flags().StringVar(&flags.named, "policy", "", "the `NAME` of a policy of the config's verify section, in place of keys and identities")
	c.Flags().StringArrayVar(&flags.keys, "key", nil, "a `FILE` with public keys (PEM), of which one is enough; may be repeated")
	c.Flags().StringVar(&flags.identity, "identity", "", "the `SUBJECT` of the certificate of a keyless signature: a workflow's URL, or a mail address")
	c.Flags().StringVar(&flags.identityRegexp, "identity-regexp", "", "a `REGEXP` in place of --identity")
	c.Flags().StringVar(&flags.issuer, "issuer", "", "the `URL` of the issuer that the certificate names")
	c.Flags().StringVar(&flags.issuerRegexp, "issuer-regexp", "", "a `REGEXP` in place of --issuer")
	c.Flags().StringVar(&flags.trustedRoot, "trusted-root", "", "the `FILE` trusted_root.json of the Sigstore instance")
	c.Flags().IntVar(&flags.threshold, "threshold", 1, "how many of the files with keys, and of the identity, must have signed the image")
	c.Flags().StringVar(&flags.signed, "signed", "image", "what must be signed: `image` or platforms, which is each manifest of an index")
	c.Flags().StringArrayVar(&flags.attestations, "attestation", nil, "a predicate `TYPE` of which there must be a signed attestation; may be repeated")
	c.Flags().StringVar(&flags.from, "signatures-from", "", "the `REPOSITORY` that has the signatures, in place of the image's (COSIGN_REPOSITORY)")
	for _, name := range []string{"key", "identity", "identity-regexp", "issuer", "issuer-regexp", "trusted-root", "threshold", "signed", "attestation", "signatures-from"} {
		c.MarkFlagsMutuallyExclusive("policy", name)
	}
	_ = c.MarkFlagFilename("key", "pub", "pem")
	_ = c.MarkFlagFilename("trusted-root", "json")
	return c
}

// signers is what the flags say of who must have signed.
type signers struct {
	keys                                                        []string
	identity, identityRegexp, issuer, issuerRegexp, trustedRoot string
	threshold                                                   int
	signed                                                      string
	attestations                                                []string
	// from is the repository of the signatures, and named the policy of the config in place of all others.
	from, named string
}

// policyIn returns the policy of a config that the flags name, or else their own as the config names its registries.
func (f signers) policyIn(cfg *config.Config, own signature.Policy) (signature.Policy, error) {
	if f.named == "" {
		own.From = cfg.Canonical(own.From.Tag("")).Repository
		return own, nil
	}
	names := make([]string, len(cfg.Policies))
	for i, p := range cfg.Policies {
		if names[i] = p.Name; p.Name == f.named {
			p.Verify.All = true
			return p.Verify, nil
		}
	}
	return signature.Policy{}, usage("--policy %s: the config has no such policy (its policies: %q)", f.named, names[:min(len(names), shownNames)])
}

// maxKeyFile is the size limit of a file with keys, or of a trusted root, in bytes.
const maxKeyFile = 1 << 20

// policy reads what the flags name, unless that is a policy of the config.
func (f signers) policy() (signature.Policy, error) {
	if f.named != "" {
		return signature.Policy{}, nil
	}
	p := signature.Policy{Threshold: f.threshold, Attestations: f.attestations, Platforms: f.signed == "platforms", All: true}
	if !p.Platforms && f.signed != "image" {
		return p, usage("--signed %s: write image or platforms", f.signed)
	}
	from, err := f.repository()
	if err != nil {
		return p, err
	}
	p.From = from
	identity, err := f.keyless()
	if err != nil {
		return p, err
	}
	if identity != nil {
		p.Identities = append(p.Identities, *identity)
	}
	if len(f.keys) == 0 && identity == nil {
		return p, usage("verify needs a public key or an identity: name the file of a key with --key, or write --identity, --issuer and --trusted-root")
	}
	for _, name := range f.keys {
		text, err := readKeys(name)
		if err != nil {
			return p, usage("--key: %w", err)
		}
		keys, err := signature.ParseKeys(name, text)
		if err != nil {
			return p, usage("--key %s: %w", name, err)
		}
		p.Keys = append(p.Keys, keys...)
	}
	if different := p.Different(); f.threshold < 1 || f.threshold > different {
		return p, usage("--threshold %d: write a number from 1 to %d, as many as there are files with a key of their own, and identities", f.threshold, different)
	}
	return p, nil
}

// repository returns that of the signatures; the zero value for the image's own.
func (f signers) repository() (image.Repository, error) {
	if f.from == "" {
		return image.Repository{}, nil
	}
	ref, err := image.Parse(f.from)
	if err == nil && (ref.Tag != "" || ref.Digest != "") {
		err = fmt.Errorf("%s names one image: write a repository", ref)
	}
	if err != nil {
		return image.Repository{}, usage("--signatures-from: %w", err)
	}
	return ref.Repository, nil
}

// keyless returns the identity that the flags name; nil for none.
func (f signers) keyless() (*signature.Identity, error) {
	if f.identity+f.identityRegexp+f.issuer+f.issuerRegexp+f.trustedRoot == "" {
		return nil, nil //nolint:nilnil // there is none
	}
	made := &signature.Identity{Name: "--identity"}
	var err error
	if made.Subject, err = matcher("identity", f.identity, f.identityRegexp); err != nil {
		return nil, err
	}
	if made.Issuer, err = matcher("issuer", f.issuer, f.issuerRegexp); err != nil {
		return nil, err
	}
	if f.trustedRoot == "" {
		return nil, usage("an identity needs --trusted-root: \"cosign trusted-root create --with-default-services\" makes the file")
	}
	text, err := readKeys(f.trustedRoot)
	if err != nil {
		return nil, usage("--trusted-root: %w", err)
	}
	if made.Root, err = keyless.ParseRoot(text); err != nil {
		return nil, usage("--trusted-root %s: %w", f.trustedRoot, err)
	}
	return made, nil
}

// matcher is what one of two flags asks for.
func matcher(flag, exact, expression string) (*regexp.Regexp, error) {
	switch {
	case (exact == "") == (expression == ""):
		return nil, usage("an identity needs either --%s or --%s-regexp", flag, flag)
	case exact != "":
		return signature.Exactly(exact), nil
	}
	m, err := signature.Matching(expression)
	if err != nil {
		return nil, usage("--%s-regexp: %w", flag, err)
	}
	return m, nil
}

func readKeys(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err //nolint:wrapcheck // it names the file
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err == nil && len(text) > maxKeyFile {
		err = fmt.Errorf("%s has more than %d bytes", name, maxKeyFile)
	}
	return text, err
}

// verified is the answer of the command in JSON.
type verified struct {
	Version int    `json:"version"`
	Command string `json:"command"`
	// Image is the image with the digest that was verified.
	Image  string `json:"image"`
	Digest string `json:"digest"`
	signature.Report
}

func (a *app) verify(ctx context.Context, cfg *config.Config, ref image.Reference, policy signature.Policy) error {
	log := a.logger(cfg.Log)
	built, err := a.build(ctx, cfg, nil, log)
	if err != nil {
		return err
	}
	defer func() { _ = built.close(ctx) }()
	ctx, cancel := worktime.WithTimeout(ctx, importTimeout, context.DeadlineExceeded)
	defer cancel()
	answer := verified{Version: 1, Command: "verify"}
	named := ref.Digest != ""
	if !named {
		d, err := built.client.Head(ctx, ref)
		if err != nil {
			return &exitError{exitFailed, fmt.Errorf("%s: %w", ref, err)}
		}
		ref = ref.WithDigest(d.Digest)
	}
	if answer.Report, ref, err = built.links.verify(ctx, policy, ref, named); err != nil {
		return &exitError{exitFailed, err}
	}
	answer.Image, answer.Digest = ref.String(), string(ref.Digest)
	if a.output == "json" {
		err = a.writeJSON(answer)
	} else {
		a.printVerified(answer)
	}
	if err == nil && !answer.Verified {
		err = &exitError{code: exitPartly}
	}
	return err
}

// verify verifies an image, or, unless its digest is named, what the registry gives for its tag where that is another one than it had said. There is
// no verdict on what is not there.
func (l *links) verify(ctx context.Context, policy signature.Policy, ref image.Reference, named bool) (signature.Report, image.Reference, error) {
	m := l.mirror()
	found, err := policy.Verify(ctx, m.Signatures, ref)
	if err == nil && found.Verified || err != nil && !errors.Is(err, image.ErrAbsent) {
		return found, ref, err //nolint:wrapcheck // it says what could not be looked at
	}
	gone := m.Manifests.Given(ctx, ref)
	if moved, ok := errors.AsType[*image.MovedError](gone); ok && !named {
		return l.verify(ctx, policy, ref.WithDigest(moved.Now.Digest), true)
	}
	if gone != nil {
		return found, ref, fmt.Errorf("%s: %w", ref, gone)
	}
	return found, ref, err //nolint:wrapcheck // it says what could not be looked at
}

// signatureSource is where signatures are read: manifests are kept, so that an import does not fetch them again.
type signatureSource struct {
	*registry.Client
	copying *transfer.Engine
}

// Manifest fetches a manifest by digest, or has it from an earlier fetch.
func (s signatureSource) Manifest(ctx context.Context, ref image.Reference) (image.Manifest, error) {
	return s.copying.Manifest(ctx, ref) //nolint:wrapcheck // the finder says what for
}

// Referrers lists what refers to an image now: it may have been signed a moment ago.
func (s signatureSource) Referrers(ctx context.Context, repo image.Repository, d image.Digest) ([]image.Referrer, error) {
	return s.ReferrersNow(ctx, repo, d) //nolint:wrapcheck // the finder says what for
}

func (a *app) printVerified(answer verified) {
	if answer.Verified {
		fmt.Fprintf(a.out, "%s is verified.\n", answer.Image)
	} else {
		fmt.Fprintf(a.out, "%s is not verified: %s (%s).\n", answer.Image, answer.Problem, answer.Code)
	}
	for _, s := range answer.Signatures {
		mark, text := "x", s.Problem
		if s.Valid {
			mark, text = "✓", s.Kind()+" by "+s.Signer()
			if s.Identity != "" {
				text += ", as " + s.Identity
			}
		}
		fmt.Fprintf(a.out, "  %s %s %s: %s\n", mark, s.Form, image.ShortDigest(image.Digest(s.Manifest)), report.Line(text))
	}
}
