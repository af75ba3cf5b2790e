package report

import (
	"cmp"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/draysync/dray/internal/record"
)

// barWidth is how many columns a bar takes, without its ends.
const barWidth = 20

// statusImports writes how the runs under way get on.
func statusImports(b *strings.Builder, jobs []record.JobStatus, style Style) {
	for _, j := range jobs {
		if j.State != record.JobRunning {
			continue
		}
		p := cmp.Or(j.Progress, &record.Progress{})
		fmt.Fprintf(b, "\n%s: %s\n", style.Bold(Line(j.Job)), stage(p))
		column := 0
		for _, i := range p.UnderWay {
			column = max(column, min(maxAligned, utf8.RuneCountInString(Line(i.Target))))
		}
		if style.Width > 0 {
			column = min(column, max(minShortened, style.Width-barWidth-24))
		}
		for _, i := range p.UnderWay {
			name := Line(i.Target)
			if style.Width > 0 {
				name = middle(name, column)
			}
			b.WriteString(strings.TrimRight("  "+pad(name, column)+"  "+importText(i), " ") + "\n")
		}
	}
}

// stage says what a run is at.
func stage(p *record.Progress) string {
	switch {
	case p.Imports > 0:
		return bar(int64(p.Completed), int64(p.Imports)) + fmt.Sprintf(" %d/%s", p.Completed, count(p.Imports, "import"))
	case p.Tags > 0:
		return bar(int64(p.Observed), int64(p.Tags)) + fmt.Sprintf(" looked at %d/%s", p.Observed, count(p.Tags, "tag"))
	}
	return "looking for tags"
}

func importText(i record.Import) string {
	if i.Total <= 0 {
		return ""
	}
	done := min(max(0, i.Bytes), i.Total)
	return bar(done, i.Total) + " " + progressSize(done, i.Total)
}

// bar draws how much of a whole is done.
func bar(done, whole int64) string {
	full := int(float64(barWidth) * float64(min(done, whole)) / float64(whole))
	if full >= barWidth {
		return "[" + strings.Repeat("=", barWidth) + "]"
	}
	return "[" + strings.Repeat("=", max(0, full)) + ">" + strings.Repeat("-", barWidth-1-max(0, full)) + "]"
}
