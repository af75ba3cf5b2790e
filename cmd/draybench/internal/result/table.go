package result

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// column is one of a table.
type column struct {
	title   string
	value   func(Run) float64
	write   func(float64) string
	compare bool   // with dray's
	only    string // scenario that has this column; "" is all
}

func columns(scenario string) []column {
	all := []column{
		{"wall", wall, seconds, true, ""},
		{"CPU", cpu, seconds, true, ""},
		{"peak memory", peak, mebibytes, true, ""},
		{"requests to source", sourceRequests, number, true, ""},
		{"to target", targetRequests, number, true, ""},
		{"beyond no-op", beyond, number, false, "moved"},
		{"fetched", fetched, megabytes, true, ""},
		{"GETs repeated", repeats, number, false, ""},
		{"bytes of these", repeatedBytes, megabytes, false, ""},
		{"sent", sent, megabytes, true, ""},
		{"temporary files", temporaryFiles, number, false, ""},
	}
	var chosen []column
	for _, c := range all {
		if c.only == "" || c.only == scenario {
			chosen = append(chosen, c)
		}
	}
	return chosen
}

// table is a title and rows, the first of which is the head.
type table struct {
	title string
	rows  [][]string
	notes []string
}

// summary is the table of medians under one key.
func (r Report) summary(key Key) table {
	t := table{title: r.title(key)}
	head := []string{"tool"}
	for _, c := range columns(key.Scenario) {
		head = append(head, c.title)
	}
	t.rows = append(t.rows, head)
	drays := r.series(key, dray)
	for _, tool := range r.tools(key) {
		runs := r.series(key, tool.Name)
		row := []string{strings.TrimSpace(tool.Name + " " + tool.Version)}
		why := runs.incomplete()
		if why != "" {
			row[0] += " †"
			t.notes = append(t.notes, fmt.Sprintf("† %s is incomplete: %s", tool.Name, why))
		}
		for _, c := range columns(key.Scenario) {
			value := runs.median(c.value)
			cell := c.write(value)
			if c.compare && tool.Name != dray && why == "" && drays.incomplete() == "" {
				cell += ratio(value, drays.median(c.value))
			}
			row = append(row, cell)
		}
		t.rows = append(t.rows, row)
	}
	return t
}

// title says what was done under a key.
func (r Report) title(key Key) string {
	runs := 0
	for _, run := range r.Runs {
		if run.Key == key {
			runs = max(runs, run.Number)
		}
	}
	times := fmt.Sprintf("median of %d runs", runs)
	if runs == 1 {
		times = "1 run"
	}
	overTLS := ""
	if r.TLS {
		overTLS = ", over TLS"
	}
	return fmt.Sprintf("%s, %s, %s latency%s, %s", key.Corpus, key.Scenario, key.latency(), overTLS, times)
}

// kinds is the table of requests by kind under one key, without kinds that nobody used.
func (r Report) kinds(key Key) table {
	sides := []struct {
		name string
		of   func(Run) Requests
	}{
		{"source", func(run Run) Requests { return run.Source }},
		{"target", func(run Run) Requests { return run.Target }},
	}
	var t table
	head := []string{"requests", "side"}
	var used []kind
	for _, kind := range kinds() {
		for _, run := range r.Runs {
			if run.Key == key && *kind.of(&run.Source)+*kind.of(&run.Target) > 0 {
				used, head = append(used, kind), append(head, kind.name)
				break
			}
		}
	}
	t.rows = append(t.rows, head)
	for _, tool := range r.tools(key) {
		for _, side := range sides {
			row := []string{tool.Name, side.name}
			for _, kind := range used {
				row = append(row, number(r.series(key, tool.Name).median(func(run Run) float64 {
					requests := side.of(run)
					return float64(*kind.of(&requests))
				})))
			}
			t.rows = append(t.rows, row)
		}
	}
	return t
}

// Text writes two tables for each scenario: the medians, and the requests by kind.
func (r Report) Text(w io.Writer) error {
	var text strings.Builder
	fmt.Fprintln(&text, r.machine())
	for _, corpus := range r.Corpora {
		fmt.Fprintln(&text, corpus)
	}
	for _, key := range r.keys() {
		for _, t := range []table{r.summary(key), r.kinds(key)} {
			text.WriteString("\n")
			t.text(&text)
		}
	}
	_, err := io.WriteString(w, text.String())
	return err
}

func (t table) text(text *strings.Builder) {
	if t.title != "" {
		fmt.Fprintln(text, t.title)
	}
	var laid strings.Builder
	columns := tabwriter.NewWriter(&laid, 0, 0, 3, ' ', 0)
	for _, row := range t.rows {
		fmt.Fprintln(columns, strings.Join(row, "\t"))
	}
	_ = columns.Flush() // a strings.Builder does not fail
	for line := range strings.Lines(laid.String()) {
		fmt.Fprintln(text, strings.TrimRight(line, " \n"))
	}
	for _, note := range t.notes {
		fmt.Fprintln(text, note)
	}
}

// Markdown writes the medians as tables for a README.
func (r Report) Markdown(w io.Writer) error {
	var text strings.Builder
	fmt.Fprintf(&text, "%s\n\n", r.machine())
	for _, corpus := range r.Corpora {
		fmt.Fprintf(&text, "- %s\n", corpus)
	}
	for _, key := range r.keys() {
		r.summary(key).markdown(&text)
	}
	_, err := io.WriteString(w, text.String())
	return err
}

func (t table) markdown(text *strings.Builder) {
	fmt.Fprintf(text, "\n**%s**\n\n", t.title)
	for i, row := range t.rows {
		fmt.Fprintf(text, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			fmt.Fprintf(text, "|---|%s\n", strings.Repeat("--:|", len(row)-1))
		}
	}
	for _, note := range t.notes {
		fmt.Fprintf(text, "\n%s\n", note)
	}
}

// String says what a corpus comes to.
func (c Corpus) String() string {
	return fmt.Sprintf("%s, %.1f MB of unique blobs, %.1f MB counted per repository",
		c.Description, float64(c.Unique)/1e6, float64(c.PerRepository)/1e6)
}

// machine is one line.
func (r Report) machine() string {
	m := r.Machine
	line := fmt.Sprintf("%s, %d cores, %s, %s; %s", m.CPU, m.Cores, m.OS, m.Go, m.Registry)
	for _, tool := range r.Tools {
		line += "; " + strings.TrimSpace(tool.Name+" "+tool.Version)
	}
	return line
}
