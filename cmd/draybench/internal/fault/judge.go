package fault

import (
	"fmt"
	"strings"
)

// exitPartly is dray's exit code where some imports failed.
const exitPartly = 3

// named returns the line of a log that names the side of the fault with its host, and all causes; "" for none.
func (s scenario) named(st *stage, log string) string {
	side := fmt.Sprintf("%s %s/", s.side, st.at(s.side).server.Host)
	for line := range strings.Lines(log) {
		_, text, found := strings.Cut(line, side)
		for _, cause := range s.must.causes {
			found = found && strings.Contains(text, cause)
		}
		if found {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

// failings are where a cell falls short of what its row demands, none for a cell as it has to be.
func (s scenario) failings(c Cell) []string {
	var list []string
	failing := func(wrong bool, format string, values ...any) {
		if wrong {
			list = append(list, fmt.Sprintf(format, values...))
		}
	}
	failing(c.Hits == 0, "the fault was not met")
	failing(len(c.Broken) > 0, "broken: %s", strings.Join(c.Broken, ", "))
	failing(len(c.Flaws) > 0, "flaws: %s", strings.Join(c.Flaws, ", "))
	failing(c.Run.TimedOut, "it did not end in time")
	if len(s.must.causes) == 0 {
		failing(c.Run.Arrived != c.Run.Of, "%d of %d tags arrived", c.Run.Arrived, c.Run.Of)
		failing(c.Run.Exit != 0, "exit code %d, not 0", c.Run.Exit)
		return list
	}
	failing(c.Run.Arrived != s.must.spared, "%d tags arrived, not %d", c.Run.Arrived, s.must.spared)
	failing(c.Run.Exit != exitPartly, "exit code %d, not %d", c.Run.Exit, exitPartly)
	failing(c.Named == "", "no line of its log names the %s and %q", s.side, s.must.causes)
	failing(c.Healed == nil || c.Healed.Arrived != c.Healed.Of || c.Healed.Exit != 0, "healed: %v", c.Healed)
	return list
}
