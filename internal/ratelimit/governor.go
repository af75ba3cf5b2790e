package ratelimit

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/draysync/dray/internal/record"
)

// Store saves budgets, across restarts and for other processes that share it. It is optional: without it, the registry's answers are read
// again. Change replaces a state with what change makes of it, which is called again if others have changed the state meanwhile; nil stands
// for no state, and from change for no update. It ends with its context.
type Store interface {
	Change(ctx context.Context, name string, change func(state []byte, now time.Time) []byte) error
}

// Options of a [Governor]. Rule, Account and Log are required.
type Options struct {
	// Rule returns what is known about a registry.
	Rule func(registry string) Rule
	// Account names the credential for a repository of a registry, as in the config.
	Account func(registry, repository string) string
	// SignsIn reports whether requests for a repository carry a credential; nil if that is unknown.
	SignsIn func(registry, repository string) bool
	// Store saves budgets; nil for none.
	Store Store
	// Patience is how long a pull waits until the store has set it aside, before it is made by what is known; zero for a second.
	Patience time.Duration
	// Pulled is called for each counted pull; nil for none.
	Pulled func(registry, account string)
	Log    *slog.Logger
}

// Governor holds the budgets of all registries. It is safe for concurrent use, and lasts as long as the process.
type Governor struct {
	options Options
	// token names this process in allotments.
	token string

	// mu guards everything below, and its contents. Every request locks it, so nothing is read, written or logged meanwhile.
	mu      sync.Mutex
	budgets map[key]*account
	// sources are the budgets by whom registries count: two credentials of one account share one.
	sources map[source]*budget
	blocks  map[string]*block
	// learned are the registries whose answers say that they count.
	learned sync.Map
	// turns are the times of the next request to registries with a limit per second.
	turns map[string]time.Time
	// closed is set once nothing is set aside any more.
	closed bool
	// said are log lines to be written after unlocking.
	said []line
}

// line is a log line.
type line struct {
	level slog.Level
	text  string
	attrs []slog.Attr
}

// say queues a log line.
func (g *Governor) say(level slog.Level, text string, attrs ...slog.Attr) {
	g.said = append(g.said, line{level, text, attrs})
}

// unlock unlocks, and writes the queued log lines.
func (g *Governor) unlock() {
	said := g.said
	g.said = nil
	g.mu.Unlock()
	for _, l := range said {
		g.options.Log.LogAttrs(context.Background(), l.level, l.text, l.attrs...) //nolint:sloglint // say gets constants only
	}
}

// key is a credential at a registry, as named in the config.
type key struct{ registry, account string }

// source is whom a registry counts.
type source struct{ registry, hash string }

// account is the budget of a credential, with its state.
type account struct {
	*budget
	key
	// ready is closed once the saved state was read.
	ready chan struct{}
	// pulling is its part of the pulls under way in its budget.
	pulling int
	keeping
	share
	// exempt are repositories for which the registry counts nothing.
	exempt map[string]time.Time
	short  bool // the last request did not fit, and that was logged
	// unapplied is set if the registry counts by address although a credential is sent.
	unapplied bool
}

// block says that a registry wants no requests at all.
type block struct {
	until  time.Time
	length time.Duration
}

const (
	firstBlock   = time.Minute
	longestBlock = time.Hour
	// exemptFor is how long a repository counts as exempt.
	exemptFor = 24 * time.Hour
	maxExempt = 10_000
)

// New returns a governor.
func New(options Options) *Governor {
	options.Patience = cmp.Or(options.Patience, writePatience)
	return &Governor{options: options, token: rand.Text(), budgets: map[key]*account{}, sources: map[source]*budget{}, blocks: map[string]*block{}, turns: map[string]time.Time{}}
}

// Metered reports whether a registry counts GETs of manifests, by its rule or by its answers.
func (g *Governor) Metered(registry string) bool {
	_, learned := g.learned.Load(registry)
	return learned || g.options.Rule(registry).Metered
}

// Budgets returns the budgets that have been used, in no order.
func (g *Governor) Budgets(now time.Time) []record.Budget {
	g.mu.Lock()
	defer g.unlock()
	list := make([]record.Budget, 0, len(g.budgets))
	for _, a := range g.budgets {
		if !g.Metered(a.registry) {
			continue
		}
		rule := g.options.Rule(a.registry)
		b := record.Budget{Registry: a.registry, Account: a.account, Limit: -1, Remaining: -1, Reserved: a.underWay + a.reserved(), Window: record.Seconds(a.Window), Unapplied: a.unapplied}
		if a.Known {
			b.Limit, b.Remaining, b.Keep = a.Limit, a.Remaining, rule.keep(a.Limit)
		} else if rule.Limit > 0 {
			b.Limit, b.Remaining, b.Keep = rule.Limit, max(0, rule.Limit-a.Spent.total()), rule.keep(rule.Limit)
			b.Window = cmp.Or(b.Window, record.Seconds(rule.Window))
		}
		b.Spent = a.Spent.within(now.Add(-a.window()), now.Add(shortest)).total()
		b.Levels = a.Levels.within(now.Add(-a.window()))
		if a.Known {
			b.Others = a.Levels.others(max(0, b.Limit-b.Remaining-b.Spent-a.underWay))
		}
		if a.Known && b.Remaining < b.Limit {
			b.FullBy = a.Read.Add(a.window())
		}
		if left, known := a.available(rule); now.Before(a.Until) || known && left <= 0 {
			b.RetryAt = a.Until
			if !now.Before(a.Until) {
				b.RetryAt = a.again(rule, now)
			}
		}
		list = append(list, b)
	}
	return list
}

// of returns the budget of a credential. Its saved state is read on first use; requests to a registry that is known to count wait for that.
func (g *Governor) of(ctx context.Context, registry, repository string) (*account, error) {
	k := key{registry, g.options.Account(registry, repository)}
	g.mu.Lock()
	a := g.budgets[k]
	if a == nil {
		a = &account{key: k, budget: &budget{}, ready: make(chan struct{}), exempt: map[string]time.Time{}}
		g.budgets[k] = a
		go g.load(a)
	}
	g.unlock()
	if !g.Metered(registry) {
		return a, nil
	}
	select {
	case <-a.ready:
		return a, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Recall reads the saved budget of a repository, unless that has been done.
func (g *Governor) Recall(registry, repository string) {
	ctx, cancel := context.WithTimeout(context.Background(), storePatience)
	defer cancel()
	_, _ = g.of(ctx, registry, repository) // what cannot be read in time is unknown
}

// meet makes credentials share a budget if the registry counts them as one.
func (g *Governor) meet(a *account, who string) {
	if who == "" {
		return
	}
	sum := sha256.Sum256([]byte(a.registry + "\x00" + who))
	s := source{a.registry, hex.EncodeToString(sum[:])}
	shared, ok := g.sources[s]
	if !ok {
		g.sources[s], a.met = a.budget, true
		return
	}
	if shared != a.budget {
		a.move(shared)
	}
}

// move switches a credential to another budget. Its pulls under way move with it, and waiting requests check the new budget.
func (a *account) move(to *budget) {
	from := a.budget
	from.underWay -= a.pulling
	to.underWay += a.pulling
	from.reservations = slices.DeleteFunc(from.reservations, func(r *reservation) bool {
		if r.account != a {
			return false
		}
		to.reservations = append(to.reservations, r)
		return true
	})
	if !from.met { // otherwise its pulls are those of another source
		to.Spent = to.Spent.join(from.Spent)
		to.Levels = to.Levels.join(from.Levels, to.window())
	}
	a.budget, a.told = to, -1
	from.wake()
}

// take takes a pull, or says when to try again.
func (a *account) take(rule Rule, now time.Time) (retry time.Time, ok bool) {
	if retry, ok = a.budget.take(rule, now); ok {
		a.pulling++
		a.took = now
	}
	return retry, ok
}

// begin counts a pull as under way, whatever is left.
func (a *account) begin() {
	a.pulling++
	a.underWay++
}

// settle ends a pull.
func (a *account) settle(counted bool, now time.Time) {
	a.pulling--
	a.used++
	a.budget.settle(counted, now)
	if counted {
		a.fresh = a.fresh.add(spent{countAt(now, 1)})
	}
}

// applied notices a credential that has no effect: the registry then counts by address although it can name accounts.
func (g *Governor) applied(a *account, signed bool, who string) {
	if who == "" {
		return
	}
	_, err := netip.ParseAddr(who)
	unapplied := err == nil && signed
	if unapplied && !a.unapplied {
		g.say(slog.LevelWarn, "the sign-in took no effect: the registry counts the pulls of this address, not of the account",
			slog.String("registry", a.account))
	}
	a.unapplied = unapplied
}

// blocked returns until when a registry wants no requests at all; zero if it accepts them.
func (g *Governor) blocked(registry string, now time.Time) time.Time {
	if b := g.blocks[registry]; b != nil && now.Before(b.until) {
		return b.until
	}
	return time.Time{}
}

// block stops all requests to a registry, for twice as long as the last time if that was not long ago.
func (g *Governor) block(registry string, asked, now time.Time) time.Time {
	b := g.blocks[registry]
	switch {
	case b == nil:
		b = &block{length: firstBlock}
		g.blocks[registry] = b
	case now.Before(b.until): // of the same burst
		return b.until
	case now.Sub(b.until) < longestBlock:
		b.length = min(2*b.length, longestBlock)
	default:
		b.length = firstBlock
	}
	b.until = now.Add(b.length)
	if asked.After(b.until) && asked.Before(now.Add(longestBlock)) {
		b.until = asked
	}
	g.say(slog.LevelWarn, "a registry wants no requests at all for a while",
		slog.String("registry", registry), slog.Time("retry_at", b.until))
	return b.until
}
