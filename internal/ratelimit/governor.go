package ratelimit

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"net/netip"
	"sync"
	"time"
)

// Store keeps what is known of budgets across restarts. It is a help: without it, what the registry says is learned anew.
type Store interface {
	Budget(ctx context.Context, name string) (state []byte, ok bool, err error)
	PutBudget(ctx context.Context, name string, state []byte) error
}

// Options of a [Governor]. Rule, Account and Log are required.
type Options struct {
	// Rule returns what is known of a registry.
	Rule func(registry string) Rule
	// Account names the sign-in that holds for a repository of a registry, as the config calls it.
	Account func(registry, repository string) string
	// SignsIn tells whether requests for a repository carry a credential; nil where that is not known.
	SignsIn func(registry, repository string) bool
	// Store keeps budgets; nil for nothing.
	Store Store
	// Pulled is told of each pull that was counted; nil for nobody.
	Pulled func(registry, account string)
	Log    *slog.Logger
}

// Governor holds the budgets of all registries. It is safe for concurrent use, and lasts as long as the process.
type Governor struct {
	options Options

	mu      sync.Mutex
	budgets map[key]*account
	// sources are the budgets of those whom registries count: two sign-ins of one account share one.
	sources map[source]*budget
	blocks  map[string]*block
	// turns are when the next request to a registry may be sent that takes only so many in a second.
	turns map[string]time.Time
}

// key is a sign-in at a registry, as the config calls it.
type key struct{ registry, account string }

// source is whom a registry counts.
type source struct{ registry, hash string }

// account is the budget of a sign-in, and what is known of it besides.
type account struct {
	*budget
	key
	saved time.Time
	// unsaved is set while there is more to keep than was kept.
	unsaved bool
	loaded  bool
	// exempt are repositories of which the registry counts nothing.
	exempt map[string]time.Time
	short  bool // the last request did not fit, and that was said
	// unapplied is set where a credential is sent, and the registry counts the address all the same.
	unapplied bool
}

// block is that a registry wants no requests at all.
type block struct {
	until  time.Time
	length time.Duration
}

const (
	firstBlock   = time.Minute
	longestBlock = time.Hour
	// exemptFor is how long a repository is taken for exempt.
	exemptFor = 24 * time.Hour
	maxExempt = 10_000
	// saveEvery is how often the state of a budget that is in use is kept.
	saveEvery = time.Second
)

// New returns a governor.
func New(options Options) *Governor {
	return &Governor{options: options, budgets: map[key]*account{}, sources: map[source]*budget{}, blocks: map[string]*block{}, turns: map[string]time.Time{}}
}

// Budget is what is known of one budget.
type Budget struct {
	Registry, Account string
	// Limit and Remaining are -1 where they are not known.
	Limit, Remaining int
	// Reserved are pulls under way or kept for what has begun, and Keep those that are left to others.
	Reserved, Keep int
	Window         time.Duration
	// RetryAt is when what does not fit now may be tried again; zero where there is something left.
	RetryAt time.Time
	// Unapplied is set where a credential is sent, and the registry counts the address all the same.
	Unapplied bool
}

// Budgets returns what is known of the budgets that were met, in no order.
func (g *Governor) Budgets(now time.Time) []Budget {
	g.mu.Lock()
	defer g.mu.Unlock()
	list := make([]Budget, 0, len(g.budgets))
	for _, a := range g.budgets {
		rule := g.options.Rule(a.registry)
		b := Budget{Registry: a.registry, Account: a.account, Limit: -1, Remaining: -1, Reserved: a.underWay + a.reserved, Window: a.Window, Unapplied: a.unapplied}
		if a.Known {
			b.Limit, b.Remaining, b.Keep = a.Limit, a.Remaining, rule.keep(a.Limit)
		} else if rule.Limit > 0 {
			b.Limit, b.Remaining, b.Keep = rule.Limit, max(0, rule.Limit-len(a.Spent)), rule.keep(rule.Limit)
			b.Window = cmp.Or(b.Window, rule.Window)
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

// of returns the budget of a sign-in, and reads what was kept of it where it is met for the first time.
func (g *Governor) of(registry, repository string) *account {
	k := key{registry, g.options.Account(registry, repository)}
	a := g.budgets[k]
	if a == nil {
		a = &account{key: k, budget: &budget{}, exempt: map[string]time.Time{}}
		g.budgets[k] = a
	}
	if !a.loaded {
		a.loaded = true
		g.load(a)
	}
	return a
}

// Recall reads what was kept of the budget of a repository, if it was not met yet.
func (g *Governor) Recall(registry, repository string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.of(registry, repository)
}

func (k key) name() string { return k.registry + " " + k.account }

func (g *Governor) load(a *account) {
	if g.options.Store == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	raw, ok, err := g.options.Store.Budget(ctx, a.name())
	if err != nil {
		g.options.Log.LogAttrs(ctx, slog.LevelWarn, "what was known of a rate limit cannot be read", slog.String("registry", a.registry), slog.Any("err", err))
	}
	var kept budget
	if ok && err == nil && json.Unmarshal(raw, &kept) == nil && kept.Remaining >= 0 && kept.Window >= 0 && kept.Window <= maxWindow {
		*a.budget = kept
	}
}

// save keeps the state of a budget: at once where it has turned, now and then otherwise.
func (g *Governor) save(a *account, turned bool, now time.Time) {
	a.unsaved = true
	if g.options.Store == nil || !turned && now.Sub(a.saved) < saveEvery {
		return
	}
	a.saved, a.unsaved = now, false
	raw, err := json.Marshal(a.budget)
	if err != nil {
		return // there is nothing in it that cannot be written
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := g.options.Store.PutBudget(ctx, a.name(), raw); err != nil {
		g.options.Log.LogAttrs(ctx, slog.LevelWarn, "what is known of a rate limit cannot be kept", slog.String("registry", a.registry), slog.Any("err", err))
	}
}

// Keep keeps what was not kept yet: the store that New was given is about to be closed.
func (g *Governor) Keep() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, a := range g.budgets {
		if a.unsaved {
			g.save(a, true, time.Now())
		}
	}
}

// meet has sign-ins that a registry counts as one share a budget.
func (g *Governor) meet(a *account, who string) {
	if who == "" {
		return
	}
	sum := sha256.Sum256([]byte(a.registry + "\x00" + who))
	s := source{a.registry, hex.EncodeToString(sum[:])}
	shared, ok := g.sources[s]
	if !ok {
		g.sources[s] = a.budget
		return
	}
	if shared != a.budget {
		shared.underWay += a.underWay
		shared.reserved += a.reserved
		shared.Spent = append(shared.Spent, a.Spent...)
		a.budget = shared
	}
}

// applied notices a credential that was not taken: the registry then counts an address where it names accounts otherwise.
func (g *Governor) applied(a *account, repository, who string) {
	if g.options.SignsIn == nil || who == "" {
		return
	}
	_, err := netip.ParseAddr(who)
	unapplied := err == nil && g.options.SignsIn(a.registry, repository)
	if unapplied && !a.unapplied {
		g.options.Log.LogAttrs(context.Background(), slog.LevelWarn, "the sign-in took no effect: the registry counts the pulls of this address, not of the account",
			slog.String("registry", a.account))
	}
	a.unapplied = unapplied
}

// blocked tells until when a registry wants no requests at all; zero where it takes them.
func (g *Governor) blocked(registry string, now time.Time) time.Time {
	if b := g.blocks[registry]; b != nil && now.Before(b.until) {
		return b.until
	}
	return time.Time{}
}

// block stops all requests to a registry, for twice as long as the last time where that was not long ago.
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
	g.options.Log.LogAttrs(context.Background(), slog.LevelWarn, "a registry wants no requests at all for a while",
		slog.String("registry", registry), slog.Time("retry_at", b.until))
	return b.until
}
