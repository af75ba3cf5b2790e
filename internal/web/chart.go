package web

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/draysync/dray/internal/record"
)

const (
	// chartParts is how many parts of the window a chart shows, each partWidth wide; chartHeight is its height.
	chartParts, partWidth, chartHeight = 48, 10, 120
	// tableParts is how many lines the same has as a table.
	tableParts = 12
	// usualWindow is that of a budget whose registry names none.
	usualWindow = 6 * time.Hour
)

// chartView shows how much of a budget was spent within the last window.
type chartView struct {
	// Label says the same in a sentence, and Rows say it as a table.
	Label string
	Rows  []chartRow
	// Own and Others are the areas, and Limit is the line of the limit; empty where there is nothing to draw.
	Own, Others, Limit string
	Window             string
	Begin              string
}

// chartRow is what was spent at a time.
type chartRow struct{ At, Own, Others string }

// chartOf returns the chart of a budget, nil if nothing is known. What a level says holds until the next one. It changes with the levels, and once
// in each part of the window.
func chartOf(b *record.Budget, now time.Time) *chartView {
	window := cmp.Or(time.Duration(b.Window), usualWindow)
	part := max(1, int64(window/time.Second)/chartParts)
	last := now.Unix() / part
	first := last - chartParts + 1
	var levels []record.BudgetLevel
	most := max(1, b.Limit)
	for _, l := range b.Levels {
		if at := l.At.Unix() / part; at >= first && at <= last {
			levels = append(levels, l)
			most = max(most, l.Spent+l.Others)
		}
	}
	if len(levels) == 0 {
		return nil
	}
	most += most/20 + 1 // so that the line of the limit is seen
	column := func(i int) int64 {
		if i == len(levels) {
			return chartParts * partWidth
		}
		return (levels[i].At.Unix()/part - first) * partWidth
	}
	height := func(pulls int) int { return chartHeight - pulls*chartHeight/most }
	latest := levels[len(levels)-1]
	c := &chartView{
		Window: span(window), Begin: clockAt(time.Unix(first*part, 0), now),
		Own:    area(len(levels), column, func(i int) (int, int) { return height(0), height(levels[i].Spent) }),
		Others: area(len(levels), column, func(i int) (int, int) { return height(levels[i].Spent), height(levels[i].Spent + levels[i].Others) }),
		Label:  fmt.Sprintf("Of the pulls of %s, %s were last spent by dray and %s by others", span(window), thousands(int64(latest.Spent)), thousands(int64(latest.Others))),
	}
	if b.Limit > 0 {
		c.Limit = fmt.Sprintf("M0 %[1]dH%[2]d", height(b.Limit), chartParts*partWidth)
		c.Label += "; " + thousands(int64(b.Limit)) + " are allowed"
	}
	for i, l := range levels {
		row := func(l record.BudgetLevel) int64 { return (l.At.Unix()/part - first) * tableParts / chartParts }
		if i+1 == len(levels) || row(levels[i+1]) != row(l) {
			c.Rows = append(c.Rows, chartRow{clockAt(l.At, now), thousands(int64(l.Spent)), thousands(int64(l.Others))})
		}
	}
	return c
}

// area returns the path between two lines of steps.
func area(n int, column func(i int) int64, lines func(i int) (from, to int)) string {
	var there, back strings.Builder
	for i := range n {
		_, to := lines(i)
		fmt.Fprintf(&there, "V%dH%d", to, column(i+1))
	}
	for i := n - 1; i >= 0; i-- {
		from, _ := lines(i)
		fmt.Fprintf(&back, "V%dH%d", from, column(i))
	}
	from, _ := lines(0)
	return fmt.Sprintf("M%d %d%s%sZ", column(0), from, there.String(), back.String())
}

// clockAt leaves out the date of what is near.
func clockAt(t, now time.Time) string {
	if now.Sub(t).Abs() < 12*time.Hour {
		return t.UTC().Format("15:04 MST")
	}
	return t.UTC().Format("2006-01-02 15:04 MST")
}
