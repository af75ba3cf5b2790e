package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/draysync/dray/internal/acr"
	"github.com/draysync/dray/internal/config"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/registry"
	"github.com/draysync/dray/internal/report"
	"github.com/draysync/dray/internal/store"
)

// checked is the answer of `dray check` in JSON.
type checked struct {
	Version    int               `json:"version"`
	Command    string            `json:"command"`
	Config     string            `json:"config"`
	Valid      bool              `json:"valid"`
	Mappings   int               `json:"mappings"`
	Errors     []checkedError    `json:"errors"`
	Registries []checkedRegistry `json:"registries"`
	// Ledger is absent if there is none, and if --online does not ask it. If it cannot be used, a warning says so.
	Ledger *checkedLedger `json:"ledger,omitempty"`
	// Warnings are about settings that are valid but will not work as intended.
	Warnings []string `json:"warnings"`
}

// checkedError is one mistake in the config file.
type checkedError struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Key     string `json:"key"`
	Message string `json:"message"`
}

// checkedRegistry is a registry's answer; without --online it has only the name.
type checkedRegistry struct {
	Registry string `json:"registry"`
	Account  string `json:"account"`
	Asked    bool   `json:"asked"`
	// PullsLeft of PullsLimit pulls remain; both are absent if the registry does not count pulls.
	PullsLimit int `json:"pulls_limit,omitempty"`
	PullsLeft  int `json:"pulls_left,omitempty"`
	// Listing is the kind of the registry's own listing of tags with digests; empty if each tag takes a HEAD request.
	Listing string `json:"listing,omitempty"`
	// listed says that HEAD requests have confirmed such a listing.
	listed bool
	Error  string `json:"error"`

	cause error // of Error
}

// checkedLedger is what the database of a cluster says.
type checkedLedger struct {
	Address string `json:"address"`
	// Server is the version of PostgreSQL.
	Server string `json:"server"`
	User   string `json:"user"`
	// TLS is the version of TLS, empty without.
	TLS string `json:"tls"`
	// Schema is the version of its tables, zero where there are none yet; NewestSchema is the one of this dray.
	Schema       int     `json:"schema"`
	NewestSchema int     `json:"newest_schema"`
	RoundTrip    float64 `json:"round_trip_seconds"`
}

func (a *app) checkCommand() *cobra.Command {
	var online, noSecrets bool
	c := &cobra.Command{
		Use:   "check",
		Short: "Validate the config",
		Long: `Read the config file, report all mistakes with line and column, and build everything that a sync needs.
--online also signs in to every registry, which costs no pull, and asks the ledger of a cluster.
--no-secrets checks the file alone, for pipelines without secrets: dray reads no variable and no other file, and
builds nothing.

` + exitHelp,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if online && noSecrets {
				return usage("--online signs in with the secrets that --no-secrets leaves out: use one of them")
			}
			return a.check(c.Context(), online, noSecrets)
		},
	}
	c.Flags().BoolVar(&online, "online", false, "also sign in to every registry")
	c.Flags().BoolVar(&noSecrets, "no-secrets", false, "validate without environment variables and secret files")
	return c
}

func (a *app) check(ctx context.Context, online, noSecrets bool) error {
	answer := checked{Version: 1, Command: "check", Config: a.configName(), Errors: []checkedError{}, Registries: []checkedRegistry{}, Warnings: []string{}}
	cfg, jobs, err := a.loadWith(noSecrets)
	switch {
	case err != nil:
	case noSecrets:
		answer.Registries = ask(ctx, nil, accounts(func(repo image.Repository) string { return repo.Registry }, jobs), false)
	default:
		err = a.checkBuilt(ctx, cfg, jobs, online, &answer)
	}
	if err == nil {
		answer.Valid, answer.Mappings = true, len(jobs)
		if text := unscheduled(jobs); text != "" {
			answer.Warnings = append(answer.Warnings, text)
		}
		answer.Warnings = append(answer.Warnings, unverified(cfg, jobs)...)
		answer.Warnings = append(answer.Warnings, unclear(cfg)...)
	}
	if a.output == "json" {
		var invalid config.Errors
		if errors.As(err, &invalid) {
			answer.Errors = mistakes(invalid)
		}
		if err := a.writeJSON(answer); err != nil {
			return err
		}
	} else if err == nil {
		a.printChecked(answer)
	}
	if err == nil && slices.ContainsFunc(answer.Registries, func(r checkedRegistry) bool { return r.Error != "" }) {
		return &exitError{code: exitFailed}
	}
	return err
}

// checkBuilt builds everything, and runs the checks that need that.
func (a *app) checkBuilt(ctx context.Context, cfg *config.Config, jobs []plan.Job, online bool, answer *checked) error {
	alone := *cfg
	alone.Cluster = config.Cluster{} // to check joins nothing
	built, err := a.build(ctx, &alone, jobs, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer func() { _ = built.close(ctx) }() // nothing was written
	repos := accounts(built.client.Account, jobs)
	answer.Registries = ask(ctx, built, repos, online)
	if online {
		if ledger, err := checkLedger(ctx, cfg.Cluster); err != nil {
			answer.Warnings = append(answer.Warnings, "cluster: "+err.Error())
		} else {
			answer.Ledger = ledger
		}
		answer.Warnings = append(answer.Warnings, closedPlanes(built, answer.Registries, repos)...)
		answer.Warnings = append(answer.Warnings, hidden(ctx, built.client, jobs)...)
	}
	answer.Warnings = append(answer.Warnings, missingHelpers(cfg, built.client, repos)...)
	answer.Warnings = append(answer.Warnings, built.warnings(ctx, time.Now())...)
	return nil
}

// checkLedger asks a cluster's ledger, if there is one.
func checkLedger(ctx context.Context, c config.Cluster) (*checkedLedger, error) {
	if c.Ledger == "" {
		return nil, nil
	}
	f, err := store.Check(ctx, c.Ledger.Reveal())
	if err != nil {
		return nil, err
	}
	return &checkedLedger{f.Address, f.Server, f.User, f.TLS, f.Schema, f.Newest, f.RoundTrip.Seconds()}, nil
}

// String describes it in one line.
func (l *checkedLedger) String() string {
	transport := cmp.Or(l.TLS, "without TLS")
	schema := fmt.Sprintf("schema %d of %d", l.Schema, l.NewestSchema)
	if l.Schema == 0 {
		schema = "no tables yet"
	}
	took := time.Duration(l.RoundTrip * float64(time.Second)).Round(10 * time.Microsecond)
	return fmt.Sprintf("ledger %s as %s: PostgreSQL %s, %s, %s, answers in %s", l.Address, l.User, l.Server, transport, schema, took)
}

func mistakes(errs config.Errors) []checkedError {
	list := make([]checkedError, 0, len(errs))
	for _, e := range errs {
		message := e.Err.Error()
		if e.Hint != "" {
			message += "; " + e.Hint
		}
		list = append(list, checkedError{e.Pos.File, e.Pos.Line, e.Pos.Col, e.Key, message})
	}
	return list
}

func (a *app) printChecked(answer checked) {
	fmt.Fprintf(a.out, "%s is valid: %s, %s.\n", answer.Config, plural(answer.Mappings, "mapping", "mappings"), plural(len(answer.Registries), "registry", "registries"))
	for _, r := range answer.Registries {
		switch {
		case r.Error != "":
			fmt.Fprintf(a.out, "  x %s: %s\n", r.Registry, report.Line(r.Error))
		case r.Asked && r.Account != "":
			fmt.Fprintf(a.out, "  ✓ %s as %s%s\n", r.Registry, report.Line(r.Account), r.pulls()+r.lists())
		case r.Asked:
			fmt.Fprintf(a.out, "  ✓ %s, anonymous%s\n", r.Registry, r.pulls()+r.lists())
		}
	}
	if answer.Ledger != nil {
		fmt.Fprintf(a.out, "  ✓ %s\n", report.Line(answer.Ledger.String()))
	}
	for _, text := range answer.Warnings {
		fmt.Fprintf(a.out, "  ! %s\n", report.Line(text))
	}
}

// pulls describes the remaining pulls, if the registry limits them.
func (r checkedRegistry) pulls() string {
	if r.PullsLimit == 0 {
		return ""
	}
	return fmt.Sprintf("; %d of %d pulls left", r.PullsLeft, r.PullsLimit)
}

// lists describes the registry's own listing, if tags are compared by it.
func (r checkedRegistry) lists() string {
	if r.Listing == "" {
		return ""
	}
	if !r.listed {
		return "; may list tags with digests (" + r.Listing + ")"
	}
	return "; lists tags with digests (" + r.Listing + ")"
}

// accounts returns the registries of the jobs and of their signatures, and the parts of them with credentials of their own, each with one of its repositories.
func accounts(account func(image.Repository) string, jobs []plan.Job) map[string]image.Repository {
	repos := map[string]image.Repository{}
	for _, job := range jobs {
		refs := job.Targets
		if !job.ResolveServer { // else only Azure reaches the source
			refs = slices.Concat(job.Sources(), refs)
		}
		for _, ref := range refs {
			if !ref.IsLayout() {
				repos[account(ref.Repository)] = ref.Repository
			}
		}
		names := job.PolicyNames()
		for _, p := range job.Policies {
			if from := p.From; slices.Contains(names, p.Name) && from.Path != "" && !from.IsLayout() {
				repos[account(from)] = from
			}
		}
	}
	return repos
}

// ask lists the accounts, sorted, and with online signs in to each.
func ask(ctx context.Context, built *generation, repos map[string]image.Repository, online bool) []checkedRegistry {
	answers := make([]checkedRegistry, 0, len(repos))
	for name := range repos {
		answers = append(answers, checkedRegistry{Registry: name, Asked: online})
	}
	slices.SortFunc(answers, func(a, b checkedRegistry) int { return strings.Compare(a.Registry, b.Registry) })
	if !online {
		return answers
	}
	var group sync.WaitGroup
	for i := range answers {
		if built.dataPlane(repos[answers[i].Registry]) == acr.AccessNone {
			answers[i].Asked = false
			continue
		}
		group.Go(func() {
			account, err := built.client.SignIn(ctx, repos[answers[i].Registry])
			answers[i].Account = account
			if err != nil {
				answers[i].Error, answers[i].cause = err.Error(), err
				return
			}
			if who := built.links.who(ctx, repos[answers[i].Registry], account); who != "" {
				answers[i].Account = who
			}
			answers[i].Listing, answers[i].listed = built.client.Listing(ctx, repos[answers[i].Registry])
			if b, ok := built.limits.probe(ctx, built.client, answers[i].Registry); ok {
				answers[i].PullsLimit, answers[i].PullsLeft = b.Limit, b.Remaining
			}
		})
	}
	group.Wait()
	return answers
}

// dataPlane returns the config's setting for the data plane of a registry that is only a target of Azure's imports; empty for any other.
func (g *generation) dataPlane(repo image.Repository) acr.Access {
	of := g.config.Registries[repo.Registry].Azure
	if of == nil || slices.ContainsFunc(g.jobs, func(j plan.Job) bool {
		return slices.ContainsFunc(j.Sources(), func(s image.Reference) bool { return s.Registry == repo.Registry }) || j.Engine == "copy" && slices.ContainsFunc(j.Targets, func(t image.Reference) bool { return t.Registry == repo.Registry })
	}) {
		return ""
	}
	return acr.Access(of.DataPlane)
}

// closedPlanes clears the errors of targets that Azure can import into anyway, and returns a warning for each.
func closedPlanes(built *generation, answers []checkedRegistry, repos map[string]image.Repository) (texts []string) {
	for i := range answers {
		a := &answers[i]
		switch plane := built.dataPlane(repos[a.Registry]); {
		case plane == acr.AccessNone:
			texts = append(texts, a.Registry+" is not read, because of dataPlane: none: Azure imports into it, unverified")
		case plane == acr.AccessAuto && a.cause != nil && acr.Closed(a.cause):
			texts = append(texts, fmt.Sprintf("%s cannot be read: Azure imports into it, unverified (%s)", a.Registry, a.Error))
			a.Error = ""
		}
	}
	return texts
}

// askedTargets limits the target repositories that are checked.
const askedTargets = 200

// hidden checks whether targets reveal their content, and returns a warning for each registry that does not. A plan reports other errors.
func hidden(ctx context.Context, client *registry.Client, jobs []plan.Job) []string {
	var mu sync.Mutex
	unsaid := map[string][]string{}
	var group errgroup.Group
	group.SetLimit(8)
	for _, ref := range someTargets(jobs) {
		group.Go(func() error {
			if _, err := client.Held(ctx, ref); errors.Is(err, image.ErrHidden) {
				mu.Lock()
				defer mu.Unlock()
				unsaid[ref.Registry] = append(unsaid[ref.Registry], ref.Path)
			}
			return nil
		})
	}
	_ = group.Wait()
	var texts []string
	for _, name := range slices.Sorted(maps.Keys(unsaid)) {
		slices.Sort(unsaid[name])
		of := plural(len(unsaid[name]), "repository", "repositories")
		texts = append(texts, fmt.Sprintf("%s does not show its content in %s (%s): there is none yet, or the account may not read it; "+
			"a sync tries the import, except with moved: refuse", name, of, strings.Join(unsaid[name][:min(3, len(unsaid[name]))], ", ")))
	}
	return texts
}

// someTargets returns one possibly existing tag of each target repository.
func someTargets(jobs []plan.Job) []image.Reference {
	var refs []image.Reference
	seen := map[image.Repository]bool{}
	add := func(ref image.Reference) {
		if !ref.IsLayout() && !seen[ref.Repository] && len(refs) < askedTargets {
			seen[ref.Repository] = true
			refs = append(refs, ref)
		}
	}
	for _, job := range jobs {
		for _, i := range job.Images {
			for _, ref := range i.Targets {
				add(ref)
			}
		}
		if job.NeedsCatalog() || job.Images != nil {
			continue
		}
		tag := "latest"
		if literals, ok := job.Tags.Literals(); ok && len(literals) > 0 {
			tag = literals[0]
		}
		routes, _ := job.Routes(nil)
		for _, route := range routes {
			for i, repo := range route.Targets {
				add(repo.Tag(cmp.Or(job.Targets[i].Tag, job.Retag.Of(tag))))
			}
		}
	}
	return refs
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
