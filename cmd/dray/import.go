package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/draysync/dray/internal/config"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/plan"
)

// The settings of `dray import` that a mapping would have: the defaults of a config file.
const (
	importTimeout = time.Hour
	importRetries = 3
)

func (a *app) importCommand() *cobra.Command {
	var how importFlags
	c := &cobra.Command{
		Use:   "import SOURCE TARGET",
		Short: "Import one image now, without a config file",
		Long: `Import one image with all its platforms, signatures, SBOMs and attestations. If TARGET names no tag, it gets
the source's. dray reads a config file only if --config or $DRAY_CONFIG names one, and only its registries,
azure and verify sections: an image that a policy matches must be signed as it says.

  dray import alpine:3.20 registry.example:5000/mirror/alpine
  dray import ghcr.io/acme/base@sha256:… ocidir:///srv/stage:base
  dray import alpine:3.20 myregistry.azurecr.io/mirror/alpine

An Azure Container Registry imports by itself what it can, as with "az acr import". dray signs in to Azure with
the first credential that works: environment, workload identity, managed identity, or "az login".

--username, --password-stdin and --identity-token-stdin are for SOURCE. A password without a user name is an
Entra token, for a source at Azure, as in "az acr import".

` + exitHelp,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usage("import takes a SOURCE and a TARGET, got %d arguments", len(args))
			}
			if slices.Contains(a.configs, fromStdin) && (how.password || how.identityToken) {
				return usage("stdin cannot have both the config and a secret: name a file with --config")
			}
			cfg := &config.Config{Path: "dray import", Azure: config.DefaultAzure()}
			if c.Flags().Changed("config") || a.env("DRAY_CONFIG") != "" {
				var err error
				if cfg, _, err = a.load(); err != nil {
					return err
				}
			}
			job, err := oneImage(cfg, args[0], args[1])
			if err == nil {
				err = how.apply(cfg, &job, a.in)
			}
			if err != nil {
				return err
			}
			return a.sync(c.Context(), "import", cfg, []plan.Job{job}, syncAll, false)
		},
	}
	c.Flags().StringVar(&how.engine, "engine", string(config.EngineAuto), "what imports: auto, copy, or acr for Azure Container Registry itself")
	completeValues(c, map[string][]string{"engine": config.Engines()})
	c.Flags().StringVar(&how.username, "username", "", "the user `NAME` for SOURCE")
	c.Flags().BoolVar(&how.password, "password-stdin", false, "read the password for SOURCE from stdin")
	c.Flags().BoolVar(&how.identityToken, "identity-token-stdin", false, "read a refresh token of SOURCE's registry from stdin")
	return c
}

// importFlags say how an image is imported.
type importFlags struct {
	engine, username        string
	password, identityToken bool
}

// apply sets the flags' values in the config and the job.
func (f importFlags) apply(cfg *config.Config, job *plan.Job, stdin io.Reader) error {
	if err := oneOf("--engine", f.engine, config.Engines()...); err != nil {
		return err
	}
	cloud, source, target := cloudOf(cfg), job.Source, job.Targets[0]
	job.Engine = f.engine
	for _, ref := range []image.Reference{source, target} {
		if _, ok := cloud.LoginServer(ref.Registry); ok {
			cfg.Azure.Set, cfg.Azure.Everywhere = true, true
		}
	}
	if _, ok := cloud.LoginServer(target.Registry); f.engine == string(config.EngineACR) && !ok && cfg.Registries[target.Registry].Azure == nil {
		return usage("--engine acr: TARGET is not an Azure Container Registry: %s does not end with .%s", target.Registry, cloud.RegistrySuffix)
	}
	return f.signIn(cfg, source, stdin)
}

// signIn adds the source's credential to the config, for its repository only.
func (f importFlags) signIn(cfg *config.Config, source image.Reference, stdin io.Reader) error {
	_, azures := cloudOf(cfg).LoginServer(source.Registry)
	switch {
	case f.username == "" && !f.password && !f.identityToken:
		return nil
	case source.IsLayout():
		return usage("--username, --password-stdin and --identity-token-stdin are for a registry, and SOURCE is a folder")
	case f.password && f.identityToken, f.username != "" && f.identityToken:
		return usage("--identity-token-stdin goes without --username and --password-stdin")
	case f.username != "" && !f.password:
		return usage("--username needs --password-stdin")
	case f.username == "" && f.password && !azures:
		return usage("--password-stdin needs --username: a password alone is a token of Entra, for a registry of Azure's")
	}
	secret, err := secretOf(stdin)
	if err != nil {
		return err
	}
	entry := config.Registry{Username: f.username, Password: config.Secret(secret)}
	if f.identityToken {
		entry = config.Registry{IdentityToken: config.Secret(secret)}
	}
	registries := maps.Clone(cfg.Registries)
	if registries == nil {
		registries = map[string]config.Registry{}
	}
	registries[source.Repository.String()] = entry
	cfg.Registries = registries
	return nil
}

// maxSecret is the size limit of a secret from stdin, in bytes; tokens have a few KiB.
const maxSecret = 64 << 10

// secretOf reads a secret, and removes one line break at its end.
func secretOf(stdin io.Reader) (string, error) {
	if stdin == nil {
		return "", usage("stdin is closed")
	}
	raw, err := io.ReadAll(io.LimitReader(stdin, maxSecret+1))
	if err != nil {
		return "", &exitError{exitFailed, fmt.Errorf("read stdin: %w", err)}
	}
	secret := strings.TrimSuffix(strings.TrimSuffix(string(raw), "\n"), "\r")
	switch {
	case len(raw) > maxSecret:
		return "", usage("stdin has more than %d KiB, too long for a secret", maxSecret>>10)
	case secret == "":
		return "", usage("stdin has no secret")
	case strings.ContainsAny(secret, "\r\n"):
		return "", usage("stdin has more than one line, but a secret has only one")
	}
	return secret, nil
}

// oneImage returns the job of one import; the config says which names mean the same registry.
func oneImage(cfg *config.Config, from, to string) (plan.Job, error) {
	source, err := image.ParseImage(from)
	if err != nil {
		return plan.Job{}, usage("SOURCE: %w", err)
	}
	target, err := image.Parse(to)
	if err != nil {
		return plan.Job{}, usage("TARGET: %w", err)
	}
	source, target = cfg.Canonical(source), cfg.Canonical(target)
	if target.Tag == "" {
		target.Tag = source.Tag
	}
	switch {
	case target.Digest != "":
		return plan.Job{}, usage("TARGET: %q names a digest, but the source determines it: write a tag", to)
	case target.Tag == "":
		return plan.Job{}, usage("TARGET: %q names no tag, and neither does the source", to)
	case target == source.WithDigest(""):
		return plan.Job{}, usage("SOURCE and TARGET are the same image, %s", target)
	}
	return plan.Job{
		Name: fmt.Sprintf("%s → %s", from, to), Source: source, Targets: []image.Reference{target},
		Referrers: plan.Referrers{All: true}, Engine: "auto", Timeout: importTimeout, Retries: importRetries, Policies: plan.Policies(cfg),
	}, nil
}
