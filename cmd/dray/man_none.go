//go:build !man

package main

import "github.com/spf13/cobra"

// buildCommands returns none: the manual pages are made by a program that is built with -tags man.
func (a *app) buildCommands() []*cobra.Command { return nil }
