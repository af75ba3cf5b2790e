package scale

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

func head() []string {
	return []string{
		"mappings", "tags of each", "registries", "wall", "CPU", "peak memory", "requests to source", "to target", "store", "memory of the daemon", "idle CPU",
	}
}

// cells are those of a row.
func (r Row) cells() []string {
	lists := "HEAD"
	if r.Lists {
		lists = "list digests"
	}
	idle, memory := "", ""
	if r.Resident > 0 {
		idle, memory = fmt.Sprintf("%.2f %%", 100*r.Idle), mebibytes(r.Resident)
	}
	return []string{
		fmt.Sprint(r.Mappings), fmt.Sprint(r.Tags), lists, r.Again.Wall.Round(10 * time.Millisecond).String(), r.Again.CPU.Round(10 * time.Millisecond).String(),
		mebibytes(r.Again.PeakRSS), fmt.Sprint(r.Again.Source.Total()), fmt.Sprint(r.Again.Target.Total()), fmt.Sprintf("%.1f MB", float64(r.Store)/1e6), memory, idle,
	}
}

func mebibytes(n int64) string { return fmt.Sprintf("%d MiB", n>>20) }

// Write writes a table of the rows.
func Write(out io.Writer, rows []Row, markdown bool) error {
	lines := [][]string{head()}
	if markdown {
		lines = append(lines, strings.Split(strings.Repeat("--:|", len(head())-1)+"--:", "|"))
	}
	for _, row := range rows {
		lines = append(lines, row.cells())
	}
	if markdown {
		for _, line := range lines {
			if _, err := fmt.Fprintf(out, "| %s |\n", strings.Join(line, " | ")); err != nil {
				return err
			}
		}
		return nil
	}
	tabs := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, line := range lines {
		fmt.Fprintln(tabs, strings.Join(line, "\t"))
	}
	return tabs.Flush()
}
