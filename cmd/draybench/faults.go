package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/draysync/dray/cmd/draybench/internal/fault"
	"github.com/draysync/dray/cmd/draybench/internal/peer"
)

const longFaults = `Have each program copy the same small content while one thing is broken at the source or at the target, and tell what
comes of it: what arrived, how the program ended, and how long it took. After a fault that no program can overcome it is
healed, and the program runs once more. The command fails where dray does not do what the third column says.`

// hunt is what the flags of faults say.
type hunt struct {
	fault.Options
	tools    []string
	dray     string
	markdown bool
}

func faults() *cobra.Command {
	var h hunt
	c := &cobra.Command{
		Use:   "faults",
		Short: "Break registries in many ways, and tell what each program makes of it",
		Long:  longFaults,
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return h.run(c.Context(), c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	flags := c.Flags()
	flags.StringSliceVar(&h.tools, "tools", nil, "which tools, of "+strings.Join(peer.Names(), ", ")+" (default all on PATH)")
	flags.StringVar(&h.dray, "dray", "", "path of the program dray (default the one on PATH)")
	flags.StringVar(&h.Only, "only", "", "only faults whose \"side: fault\" has this in it")
	flags.BoolVar(&h.Quick, "quick", false, "leave out faults in which programs wait for their own time-outs")
	flags.IntVar(&h.Parallel, "parallel", 4, "runs at once, of which most only wait")
	flags.DurationVar(&h.Timeout, "timeout", 150*time.Second, "the most that one run may take")
	flags.BoolVar(&h.markdown, "markdown", false, "print the table as Markdown")
	return c
}

func (h hunt) run(ctx context.Context, out, progress io.Writer) error {
	var err error
	if h.Tools, err = peer.Find(ctx, h.tools, h.dray, false); err != nil {
		return err
	}
	if len(h.Tools) == 0 {
		return fmt.Errorf("none of %v is on PATH", peer.Names())
	}
	h.Log = progress
	table, err := fault.Run(ctx, h.Options)
	return errors.Join(err, table.Write(out, h.markdown), table.Missed())
}
