package fault

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/draysync/dray/internal/emulator/registry"
)

// scenario is one fault at one side.
type scenario struct {
	fault, side string
	// slow is set where a client has to wait for its own time-out.
	slow bool
	// auth is asked for at the side, nil for nothing.
	auth *registry.Auth
	// arm puts the fault in place, at the end that is the scenario's side.
	arm  func(*stage, *end, fixture)
	must must
}

// must is what dray has to do.
type must struct {
	// causes are the words that its error names beside the side; none for a fault that it has to overcome.
	causes []string
	// spared is how many images arrive in spite of a fault that cannot be overcome. When that has ended, a second run has to
	// bring the others.
	spared int
}

// String says it in the words of the table.
func (m must) String() string {
	if len(m.causes) == 0 {
		return "converge"
	}
	text := fmt.Sprintf("exit 3, name the side and %q", strings.Join(m.causes, ", "))
	if m.spared > 0 {
		text += fmt.Sprintf(", bring %d of %d", m.spared, images)
	}
	return text + "; whole once healed"
}

func (s scenario) authAt(side string) *registry.Auth {
	if side == s.side {
		return s.auth
	}
	return nil
}

// name is what Options.Only is looked for in.
func (s scenario) name() string { return s.side + ": " + s.fault }

// scenarios lists all of them, the source's first.
func scenarios() []scenario {
	return slices.Concat(
		sourceFaults(), limits(Source), silences(Source), strangers(Source),
		targetFaults(), limits(Target), silences(Target), strangers(Target), fullDisks(),
	)
}

// signedIn is a registry that gives out tokens.
func signedIn(ttl time.Duration) *registry.Auth {
	return &registry.Auth{Users: map[string]string{user: password}, TTL: ttl}
}

// injected makes a scenario's arm of a fault that the gate knows. newMatch is called for each stage, since a match may count.
func injected(newMatch func() match, fault registry.Fault) func(*stage, *end, fixture) {
	return func(_ *stage, e *end, _ fixture) { e.inject(newMatch(), fault) }
}
