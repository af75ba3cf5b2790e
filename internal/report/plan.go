package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/record"
)

// Plan writes what a sync would do, for a person to approve: per job and target repository the tags that are new (+),
// moved (~), refused (!), failed (x) or deferred (>), however many. Unchanged tags are only counted.
func Plan(w io.Writer, results []mirror.Result, style Style) error {
	var b strings.Builder
	var last string
	for _, r := range results {
		block := planJob(r, style)
		if last != "" && strings.Count(last+block, "\n") > 2 { // only jobs of one line each stand close together
			b.WriteByte('\n')
		}
		b.WriteString(block)
		last = block
	}
	if last != "" {
		b.WriteByte('\n')
	}
	planTotals(&b, results, style)
	return write(w, b.String())
}

func write(w io.Writer, text string) error {
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// planJob returns the lines about one job, just one where nothing is to do.
func planJob(r mirror.Result, style Style) string {
	job, kept := Line(r.Job), tally([]mirror.Result{r}).Keep
	switch {
	case mirror.Interrupted(r.Err):
		return job + ": interrupted\n"
	case r.Err != nil:
		var b strings.Builder
		b.WriteString(job + "\n")
		table(&b, []row{{sign: "x", color: red, label: "failed:", note: errorLine(r.Err)}}, 2, style)
		return b.String()
	case countOf(r) == 0:
		return job + ": no tags chosen\n"
	case kept == countOf(r):
		return fmt.Sprintf("%s: %d unchanged\n", job, kept)
	}
	var b strings.Builder
	b.WriteString(job + "\n")
	for _, g := range groups(r) {
		g.write(&b, style)
	}
	return b.String()
}

// countOf is the number of a job's outcomes, with those that are only counted.
func countOf(r mirror.Result) int {
	n := len(r.Outcomes)
	for _, k := range r.Kept {
		n += k.Count
	}
	return n
}

// group is what a job does from one repository to another.
type group struct {
	source, target image.Repository
	outcomes       []mirror.Outcome
	// kept counts tags that are not among the outcomes.
	kept int
}

// groups are in the order of target and source repositories.
func groups(r mirror.Result) []*group {
	type route struct{ source, target image.Repository }
	var list []*group
	known := map[route]*group{}
	of := func(source, target image.Repository) *group {
		key := route{source, target}
		g := known[key]
		if g == nil {
			g = &group{source: source, target: target}
			known[key] = g
			list = append(list, g)
		}
		return g
	}
	for _, out := range r.Outcomes {
		g := of(out.Source.Repository, out.Target.Repository)
		g.outcomes = append(g.outcomes, out)
	}
	for _, k := range r.Kept {
		of(k.Source, k.Target).kept += k.Count
	}
	slices.SortStableFunc(list, func(a, b *group) int {
		return cmp.Or(compare(a.target, b.target), compare(a.source, b.source))
	})
	return list
}

func compare(a, b image.Repository) int {
	return cmp.Or(strings.Compare(a.Registry, b.Registry), strings.Compare(a.Path, b.Path))
}

func (g *group) write(b *strings.Builder, style Style) {
	var rows []row
	kept, interrupted := g.kept, 0
	for _, out := range g.outcomes {
		if out.Settled() == record.Kept {
			kept++
			continue
		}
		if isInterrupted(out) {
			interrupted++
			continue
		}
		rows = append(rows, rowOf(out, tagLabel(out.Action), planCost(out)))
	}
	fmt.Fprintf(b, "  %s → %s%s", Line(g.source.String()), Line(g.target.String()), g.engines())
	if len(rows) == 0 && interrupted == 0 {
		fmt.Fprintf(b, ": %d unchanged\n", kept)
		return
	}
	b.WriteByte('\n')
	table(b, rows, 4, style)
	if kept > 0 {
		fmt.Fprintf(b, "    %d unchanged\n", kept)
	}
	if interrupted > 0 {
		fmt.Fprintf(b, "    %d interrupted\n", interrupted)
	}
}

// interruptions counts the jobs and tags that an interruption cut off.
func interruptions(results []mirror.Result) (n int) {
	for _, r := range results {
		if mirror.Interrupted(r.Err) {
			n++
		}
		for _, out := range r.Outcomes {
			if isInterrupted(out) {
				n++
			}
		}
	}
	return n
}

func isInterrupted(out mirror.Outcome) bool {
	return out.Settled().Failure() && mirror.Interrupted(out.Err)
}

// engines says who makes the imports of the group, where there is a reason for that.
func (g *group) engines() string {
	var said []string
	for _, out := range g.outcomes {
		if out.EngineReason == "" || out.Settled() == record.Kept {
			continue
		}
		if text := out.Engine + ": " + Line(out.EngineReason); !slices.Contains(said, text) {
			said = append(said, text)
		}
	}
	if len(said) == 0 {
		return ""
	}
	return " (" + strings.Join(said, "; ") + ")"
}

// tagLabel names a target tag within its repository, and the source's where that differs.
func tagLabel(a diff.Action) string {
	source, target := tagOrDigest(a.Source), tagOrDigest(a.Target)
	if source == target || source == "" {
		return target
	}
	return target + " (from " + source + ")"
}

func tagOrDigest(ref image.Reference) string {
	if ref.Tag != "" {
		return Line(ref.Tag)
	}
	return short(string(ref.Digest))
}

func planCost(out mirror.Outcome) string {
	switch {
	case out.Reason == diff.Unresolved:
		return "imported to see what is new: only the registry can ask the source"
	case out.Engine == "acr":
		return "by the registry itself"
	case out.Reason == diff.Hidden:
		return importCost(out) + "; the registry does not say whether the tag is there"
	}
	return importCost(out)
}

// importCost is how many bytes have to move.
func importCost(out mirror.Outcome) string {
	if out.Unknown {
		return fmt.Sprintf("size unknown (asking %s would cost a pull)", Line(out.Source.Registry))
	}
	return mounted(Size(out.Bytes), out.Cost)
}

// planTotals writes the summary line and what to do next.
func planTotals(b *strings.Builder, results []mirror.Result, style Style) {
	t := tally(results)
	moved, unknown, about := 0, 0, false
	for _, r := range results {
		for _, out := range r.Outcomes {
			if out.Settled() == record.Imported && out.Reason == diff.Moved {
				moved++
			}
			if out.Unknown {
				unknown++
			}
			about = about || out.About
		}
	}
	interrupted := interruptions(results)
	t.Failed -= interrupted
	fmt.Fprintf(b, "Plan: %d to import", t.Import)
	if t.Import > 0 {
		fmt.Fprintf(b, " (%d new, %d moved)", t.Import-moved, moved)
	}
	b.WriteString(counts(t))
	if t.Import > 0 {
		b.WriteString("; " + planBill(t, unknown, about))
	}
	b.WriteByte('\n')
	if interrupted > 0 {
		fmt.Fprintf(b, "Interrupted with %d not planned. Run dray plan%s again.\n", interrupted, style.Config+style.Names)
	} else if t.Import > 0 {
		fmt.Fprintf(b, "Run dray sync%s to apply.\n", style.Config+style.Names)
	}
	if ofRegistries(results) {
		fmt.Fprintf(b, "Run dray check --online%s to see which registries answer.\n", style.Config)
	}
}

// counts lists what was not imported.
func counts(t record.Counts) (text string) {
	for _, p := range t.Parts()[1:] {
		if p.Usual || p.Count > 0 {
			text += fmt.Sprintf(", %d %s", p.Count, p.Word)
		}
	}
	return text
}

// planBill says what the imports cost: an upper bound for the bytes, except where asking was too dear.
func planBill(t record.Counts, unknown int, about bool) string {
	pulls := count(t.Pulls, "manifest pull")
	if about {
		pulls = "about " + pulls
	}
	if unknown == 0 {
		return fmt.Sprintf("at most %s, %s", Size(t.Bytes), pulls)
	}
	return fmt.Sprintf("%s and %s of unknown size, %s", Size(t.Bytes), count(unknown, "image"), pulls)
}
