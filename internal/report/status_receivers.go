package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/draysync/dray/internal/record"
)

// statusReceivers writes where senders of events have to POST to, and what they have sent.
func statusReceivers(b *strings.Builder, receivers []record.Receiver, now time.Time) {
	if len(receivers) > 0 {
		b.WriteByte('\n')
	}
	for _, r := range receivers {
		var sent []string
		for _, outcome := range slices.Sorted(maps.Keys(r.Events)) {
			sent = append(sent, fmt.Sprintf("%d %s", r.Events[outcome], outcome))
		}
		events := "none yet"
		if len(sent) > 0 {
			events = strings.Join(sent, ", ") + ", the last " + ago(r.LastEvent, now)
		}
		fmt.Fprintf(b, "Events of %s (%s) at POST %s: %s\n", Line(r.Name), Line(r.Type), Line(r.Path), Line(events))
	}
}
