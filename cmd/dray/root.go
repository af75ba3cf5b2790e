package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/draysync/dray/internal/config"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/report"
	"github.com/draysync/dray/internal/spelling"
)

// The exit codes; they are part of the contract with scripts and in every command's help.
const (
	exitDone    = 0
	exitFailed  = 1
	exitUsage   = 2
	exitPartly  = 3
	exitPending = 4
	// exitInterrupted is that of what Ctrl-C has cut off; SIGTERM leaves exitFailed.
	exitInterrupted = 130

	exitHelp = `Exit codes: 0 done · 1 failed · 2 usage or config · 3 some imports failed or were refused ·
4 plan --exit-code and imports are pending · 130 interrupted.`
)

// streams is the world of a command: what it is told on stdin, where its answer and its log go, the environment, and who ends it.
type streams struct {
	in       io.Reader // nil where there is none
	out, err io.Writer
	getenv   func(string) (string, bool)
	work     *work // nil where nobody has to know what is under way
}

func (s streams) env(name string) string {
	value, _ := s.getenv(name)
	return value
}

// exitError carries an exit code to run. Its error may be nil: then everything has been said already.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func usage(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

// flags are those that every command has.
type flags struct {
	// configs name the config; see [config.Locate].
	configs   []string
	output    string
	logLevel  string
	logFormat string
	verbose   bool
}

// app is one call of the program.
type app struct {
	streams
	flags
	// stdin is the config that was read from there.
	stdin []byte
	// answered is set once a document was written.
	answered bool
}

// run executes a command line and returns the exit code.
func run(ctx context.Context, args []string, s streams) int {
	if s.work == nil {
		s.work = newWork()
	}
	a := &app{streams: s}
	root := a.root()
	root.SetArgs(spelledOut(args))
	root.SetOut(s.out)
	root.SetErr(s.err)
	command, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitDone
	}
	exit, ok := errors.AsType[*exitError](err)
	if !ok { // cobra's own: an unknown command or flag
		exit = &exitError{exitUsage, err}
	}
	if why, ok := errors.AsType[*signalError](context.Cause(ctx)); ok {
		exit = &exitError{why.code(), exit.err}
		if errors.Is(exit.err, context.Canceled) {
			exit.err = why
		}
	}
	a.explain(exit, args, command)
	return exit.code
}

// spelledOut returns arguments with --out for the -out that other programs have: as -o ut it would be a mistake anyway.
func spelledOut(args []string) []string {
	args = slices.Clone(args)
	for i, arg := range args {
		switch {
		case arg == "--":
			return args
		case arg == "-out" || strings.HasPrefix(arg, "-out="):
			args[i] = "-" + arg
		}
	}
	return args
}

// failed is the answer in JSON of a command that could not give its own.
type failed struct {
	Version int    `json:"version"`
	Command string `json:"command"`
	Error   string `json:"error"`
	// Errors has each mistake of a config.
	Errors []checkedError `json:"errors"`
}

// explain writes an error, each of its lines as its own, with what to do about it; with --output json also as a document, unless the command
// has written one. An argument that may hold a password is not repeated.
func (a *app) explain(exit *exitError, args []string, command *cobra.Command) {
	if exit.err == nil {
		return
	}
	text := withoutUserinfo(exit.err.Error(), args)
	answer := failed{Version: 1, Command: strings.TrimPrefix(command.CommandPath(), "dray "), Error: report.Line(text), Errors: []checkedError{}}
	var invalid config.Errors
	if errors.As(exit.err, &invalid) {
		for _, e := range invalid {
			fmt.Fprintln(a.err, report.Line(e.Error()))
		}
		answer.Errors = mistakes(invalid)
	} else {
		for line := range strings.SplitSeq(text, "\n") {
			fmt.Fprintln(a.err, "dray: "+report.Line(line))
		}
		if exit.code == exitUsage {
			fmt.Fprintf(a.err, "Run %s --help to see how it is used.\n", command.CommandPath())
		}
	}
	if a.output == "json" && !a.answered {
		_ = a.writeJSON(answer) // the exit code says it too
	}
}

// withoutUserinfo takes arguments out of a text that hold a user's name and password.
func withoutUserinfo(text string, args []string) string {
	for _, arg := range args {
		if user, _, _ := strings.Cut(arg, "@"); strings.Contains(user, ":") && image.HoldsUserinfo(arg) {
			text = strings.NewReplacer(arg, "[redacted]", strings.Trim(strconv.Quote(arg), `"`), "[redacted]").Replace(text)
		}
	}
	return text
}

// maxNearest is how many names are suggested in place of one that is not there.
const maxNearest = 3

func (a *app) root() *cobra.Command {
	var showVersion bool
	root := &cobra.Command{
		Use:   "dray",
		Short: "Import container images into your own registries, as a YAML file declares",
		Long: `dray imports container images into your own registries. A YAML file lists which tags go where; dray
compares the digests on both sides and imports only what changed. It needs no Docker daemon.

Try "dray demo" first; it needs no setup. Then write a dray.yaml (see config.example.yaml), look at
"dray plan", and run "dray sync".

` + exitHelp,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if showVersion {
				return a.printVersion()
			}
			return c.Help()
		},
	}
	root.Flags().BoolVar(&showVersion, "version", false, "print the version")
	f := root.PersistentFlags()
	f.StringArrayVarP(&a.configs, "config", "c", []string{a.usualConfig()}, "the config `FILE` or folder, - for stdin; may be repeated; $DRAY_CONFIG changes the default")
	f.StringVarP(&a.output, "output", "o", "text", "output format: text or json")
	f.StringVar(&a.logLevel, "log-level", "", "debug, info, warn or error, instead of the config's log.level")
	f.BoolVar(&a.verbose, "verbose", false, "print each failure, not only each cause")
	f.StringVar(&a.logFormat, "log-format", "", "auto, text or json, instead of the config's log.format")
	root.PersistentPreRunE = func(c *cobra.Command, _ []string) error {
		a.work.begin(c.CommandPath())
		return a.checkFlags(append(outputs(), strings.Fields(c.Annotations[otherOutputs])...))
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return &exitError{exitUsage, unknownFlag(c, err)} })
	root.AddCommand(a.initCommand(), a.runCommand(), a.syncCommand(), a.planCommand(), a.checkCommand(), a.importCommand(), a.verifyCommand(), a.convertCommand(), a.imagesCommand(), a.mirrorsCommand(), a.serveCommand(), a.layoutCommand(), a.bundleCommand(), a.statusCommand(),
		a.historyCommand(), a.triggerCommand(), a.pauseCommand(), a.resumeCommand(), a.reloadCommand(), a.demoCommand(), a.schemaCommand(), a.versionCommand(), a.completionCommand())
	root.AddCommand(a.buildCommands()...)
	_ = root.RegisterFlagCompletionFunc("output", func(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return append(outputs(), strings.Fields(c.Annotations[otherOutputs])...), cobra.ShellCompDirectiveNoFileComp
	})
	completeValues(root, map[string][]string{"log-level": logLevels(), "log-format": logFormats()})
	completeRest(root)
	root.CompletionOptions.DisableDefaultCmd = true
	return root
}

func outputs() []string    { return []string{"text", "json"} }
func logLevels() []string  { return []string{"debug", "info", "warn", "error"} }
func logFormats() []string { return []string{"auto", "text", "json"} }

// otherOutputs is the annotation of a command with formats of its own.
const otherOutputs = "outputs"

// alsoPrints gives a command formats of its own besides text and json.
func alsoPrints(c *cobra.Command, formats string) {
	c.Annotations = map[string]string{otherOutputs: formats}
	c.Long = strings.Replace(c.Long, exitHelp, "Its output formats are text, json and "+strings.Join(strings.Fields(formats), ", ")+".\n\n"+exitHelp, 1)
}

func (a *app) checkFlags(outputs []string) error {
	return errors.Join(
		oneOf("--output", a.output, outputs...),
		oneOf("--log-level", a.logLevel, append([]string{""}, logLevels()...)...),
		oneOf("--log-format", a.logFormat, append([]string{""}, logFormats()...)...),
	)
}

func oneOf(flag, value string, allowed ...string) error {
	for _, candidate := range allowed {
		if value == candidate {
			return nil
		}
	}
	return usage("%s %q: write one of %s", flag, value, strings.TrimPrefix(strings.Join(allowed, ", "), ", "))
}

// noArguments refuses arguments. To a command that has others below it, an argument is the name of one of them.
func noArguments(c *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case !c.HasAvailableSubCommands():
		return usage("%s takes no arguments (got %q)", c.CommandPath(), args[0])
	}
	var names []string
	for _, below := range c.Commands() {
		names = append(names, below.Name())
	}
	return usage("unknown command %q for %q%s", args[0], c.CommandPath(), spelling.Suggestion(spelling.Nearest(args[0], names, maxNearest)))
}

// unknownFlag adds the flags that may have been meant to an error about one that is not there.
func unknownFlag(c *cobra.Command, err error) error {
	unknown, ok := errors.AsType[*pflag.NotExistError](err)
	if !ok {
		return err
	}
	var names []string
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, "--"+f.Name)
		}
	})
	return fmt.Errorf("%w%s", err, spelling.Suggestion(spelling.Nearest("--"+unknown.GetSpecifiedName(), names, maxNearest)))
}

// writeJSON writes an answer to stdout as one document.
func (a *app) writeJSON(answer any) error {
	a.answered = true
	encoder := json.NewEncoder(a.out)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(answer); err != nil {
		return &exitError{exitFailed, err}
	}
	return nil
}
