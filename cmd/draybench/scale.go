package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/draysync/dray/cmd/draybench/internal/peer"
	"github.com/draysync/dray/cmd/draybench/internal/scale"
)

const longScale = `Measure dray where nothing has changed, with ever more tags: as many mappings of a hundred tags each, and as one mapping. Source and
target are registries in this process, which have the same images. They list a thousand tags in an answer, and digests as zot does, where
--registries has "listed". dray runs until it knows them, and what is measured is its next run, and, with --idle, the daemon when it is idle.`

// growth is what the flags of scale say.
type growth struct {
	scale.Options
	tags               []int
	shapes, registries []string
	dray               string
	markdown           bool
}

// tagsOfEach is how many tags a mapping has where there are many.
const tagsOfEach = 100

func scaling() *cobra.Command {
	var g growth
	c := &cobra.Command{
		Use:   "scale",
		Short: "Measure dray with up to a million tags, of which none has changed",
		Long:  longScale,
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return g.run(c.Context(), c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	flags := c.Flags()
	flags.IntSliceVar(&g.tags, "tags", []int{10_000, 100_000, 1_000_000}, "how many tags, in all")
	flags.StringSliceVar(&g.shapes, "mappings", []string{"many", "one"}, "many mappings of 100 tags, one of all")
	flags.StringSliceVar(&g.registries, "registries", []string{"heads", "listed"}, "registries that do not list digests, and that do")
	flags.BoolVar(&g.Referrers, "referrers", true, "whether dray looks for referrers, once in its interval")
	flags.DurationVar(&g.Idle, "idle", time.Minute, "how long to watch the daemon when it is idle; 0 for not at all")
	flags.StringVar(&g.dray, "dray", "", "path of the program dray (default the one on PATH)")
	flags.BoolVar(&g.markdown, "markdown", false, "print the table as Markdown")
	return c
}

// options reads the flags.
func (g *growth) options(ctx context.Context) error {
	for _, n := range g.tags {
		if n < tagsOfEach || n%tagsOfEach != 0 {
			return errors.New("--tags must be multiples of " + strconv.Itoa(tagsOfEach))
		}
		for _, shape := range g.shapes {
			switch shape {
			case "many":
				g.Shapes = append(g.Shapes, scale.Shape{Mappings: n / tagsOfEach, Tags: tagsOfEach})
			case "one":
				g.Shapes = append(g.Shapes, scale.Shape{Mappings: 1, Tags: n})
			default:
				return fmt.Errorf("--mappings must be of many, one, not %q", shape)
			}
		}
	}
	for _, kind := range g.registries {
		if !slices.Contains([]string{"heads", "listed"}, kind) {
			return fmt.Errorf("--registries must be of heads, listed, not %q", kind)
		}
		g.Lists = append(g.Lists, kind == "listed")
	}
	tools, err := peer.Find(ctx, []string{"dray"}, g.dray, false)
	if err != nil {
		return err
	}
	g.Dray, g.Dir = tools[0], os.TempDir()
	return nil
}

func (g *growth) run(ctx context.Context, out, progress io.Writer) error {
	g.Progress = progress
	if err := g.options(ctx); err != nil {
		return err
	}
	rows, err := scale.Measure(ctx, g.Options)
	return errors.Join(err, scale.Write(out, rows, g.markdown))
}
