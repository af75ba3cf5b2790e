package fault

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Write prints the table, for Markdown or for a terminal.
func (t Table) Write(w io.Writer, markdown bool) error {
	head := []string{"side", "fault", "dray must"}
	for _, tool := range t.Tools {
		head = append(head, strings.TrimSpace(tool.Name+" "+tool.Version))
	}
	lines := [][]string{head}
	if markdown {
		lines = append(lines, strings.Fields(strings.Repeat("--- ", len(head))))
	}
	for _, row := range t.Rows {
		line := []string{row.Side, row.Fault, row.Must}
		for _, c := range row.Cells {
			line = append(line, c.String())
		}
		lines = append(lines, line)
	}
	if markdown {
		return writeMarkdown(w, lines)
	}
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, line := range lines {
		fmt.Fprintln(out, strings.Join(line, "\t"))
	}
	return out.Flush()
}

func writeMarkdown(w io.Writer, lines [][]string) error {
	for _, line := range lines {
		for i := range line {
			line[i] = strings.ReplaceAll(line[i], "|", `\|`)
		}
		if _, err := fmt.Fprintf(w, "| %s |\n", strings.Join(line, " | ")); err != nil {
			return err
		}
	}
	return nil
}
