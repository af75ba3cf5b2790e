package main

import (
	"github.com/spf13/cobra"
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
