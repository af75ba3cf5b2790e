package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/draysync/dray/internal/config"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/plan"
)

// What `dray import` does where a mapping would say: the defaults of a config file.
const (
	importTimeout = time.Hour
	importRetries = 3
)

func (a *app) importCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "import SOURCE TARGET",
		Short: "Import one image now, without a config file",
		Long: `Import one image with all its platforms and what refers to it. TARGET takes the source's tag where it
names none. A config file is read only where --config or $DRAY_CONFIG names one, and only for its registries.

  dray import alpine:3.20 registry.example:5000/mirror/alpine
  dray import ghcr.io/acme/base@sha256:… ocidir:///srv/stage:base

` + exitHelp,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usage("import takes a SOURCE and a TARGET, got %d arguments", len(args))
			}
			cfg := &config.Config{Path: "dray import"}
			if c.Flags().Changed("config") || a.env("DRAY_CONFIG") != "" {
				var err error
				if cfg, _, err = a.load(nil); err != nil {
					return err
				}
			}
			job, err := oneImage(cfg, args[0], args[1])
			if err != nil {
				return err
			}
			return a.sync(c.Context(), "import", cfg, []plan.Job{job}, false)
		},
	}
}

// oneImage is the job of one import; the config says which of its names are one registry.
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
		return plan.Job{}, usage("TARGET: %q names a digest, which follows from the source: write a tag", to)
	case target.Tag == "":
		return plan.Job{}, usage("TARGET: %q names no tag, and the source has none to take over", to)
	case target == source.WithDigest(""):
		return plan.Job{}, usage("SOURCE and TARGET are the same image, %s", target)
	}
	return plan.Job{
		Name: fmt.Sprintf("%s → %s", from, to), Source: source, Targets: []image.Reference{target},
		Referrers: plan.Referrers{All: true}, Engine: "auto", Timeout: importTimeout, Retries: importRetries,
	}, nil
}
