package main

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/draysync/dray/internal/web"
)

func (a *app) completionCommand() *cobra.Command {
	return &cobra.Command{
		Use:       "completion SHELL",
		Short:     "Print a shell completion script",
		ValidArgs: []string{"bash", "zsh", "fish", "powershell"},
		Long: `Print the completion script for bash, zsh, fish or powershell.

  bash:  source <(dray completion bash)
  zsh:   dray completion zsh > "${fpath[1]}/_dray"
  fish:  dray completion fish | source

` + exitHelp,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage("completion takes one SHELL: bash, zsh, fish or powershell")
			}
			var err error
			switch root := c.Root(); args[0] {
			case "bash":
				err = root.GenBashCompletionV2(a.out, true)
			case "zsh":
				err = root.GenZshCompletion(a.out)
			case "fish":
				err = root.GenFishCompletion(a.out, true)
			case "powershell":
				err = root.GenPowerShellCompletionWithDesc(a.out)
			default:
				return usage("no completion for %q: bash, zsh, fish or powershell", args[0])
			}
			if err != nil {
				return &exitError{exitFailed, err}
			}
			return nil
		},
	}
}

// completeValues completes the values of flags.
func completeValues(c *cobra.Command, values map[string][]string) {
	for flag, allowed := range values {
		if err := c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(allowed, cobra.ShellCompDirectiveNoFileComp)); err != nil {
			panic(err) // there is no such flag
		}
	}
}

// completeRest offers files for those flags and arguments only that name one.
func completeRest(c *cobra.Command) {
	files := []string{"config", "out", "token-file"}
	each := func(f *pflag.Flag) {
		if _, ok := c.GetFlagCompletionFunc(f.Name); !ok && !slices.Contains(files, f.Name) {
			completeValues(c, map[string][]string{f.Name: nil})
		}
	}
	c.PersistentFlags().VisitAll(each)
	c.Flags().VisitAll(each)
	if c.ValidArgs == nil && c.ValidArgsFunction == nil {
		c.ValidArgsFunction = cobra.NoFileCompletions
	}
	for _, below := range c.Commands() {
		completeRest(below)
	}
}

// completeFolders completes the values of flags that are paths of folders.
func completeFolders(c *cobra.Command, flags ...string) {
	for _, flag := range flags {
		if err := c.RegisterFlagCompletionFunc(flag, completeFolder); err != nil {
			panic(err) // there is no such flag
		}
	}
}

// completeFiles completes the values of flags that are paths of files.
func completeFiles(c *cobra.Command, flags ...string) {
	for _, flag := range flags {
		if err := c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault)); err != nil {
			panic(err) // there is no such flag
		}
	}
}

// completeFolder completes an argument that is the path of a folder.
func completeFolder(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveFilterDirs
}

// completionTime limits the daemon's time to answer a completion.
const completionTime = 2 * time.Second

// completeJobs completes the first argument, the name of one of the daemon's jobs.
func (a *app) completeJobs(at *daemonAddress) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		var names []string
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(c.Context(), completionTime)
		defer cancel()
		_ = a.withClient(*at, func(client *web.Client) error { // a completion cannot report errors
			status, err := client.Status(ctx)
			for i := range status.Jobs {
				names = append(names, status.Jobs[i].Job)
			}
			return err
		})
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeMappings completes names of the config's mappings.
func (a *app) completeMappings(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	if _, jobs, err := a.loadWith(true); err == nil {
		for _, job := range jobs {
			if !slices.Contains(args, job.Name) {
				names = append(names, job.Name)
			}
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
