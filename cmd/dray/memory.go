package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/draysync/dray/internal/config"
	"github.com/draysync/dray/internal/daemon"
	"github.com/draysync/dray/internal/metrics"
	"github.com/draysync/dray/internal/record"
	"github.com/draysync/dray/internal/store"
	"github.com/draysync/dray/internal/transfer"
)

// keeper keeps the jobs of a daemon.
type keeper interface {
	daemon.Work
	daemon.Plans
	daemon.View
}

// memory is the state that outlives the process.
type memory struct {
	store *store.Store // nil for none
	keep  func(ctx context.Context, m *metrics.Metrics, log *slog.Logger) (kept, error)
	// patience is how long a pull waits until it is set aside; zero for as long as with a file of its own.
	patience time.Duration
}

// ledgerPatience is that of a ledger. Others spend the same pulls, so that one which does not wait for a busy ledger is one too many; and while the ledger is
// away no run goes on anyway.
const ledgerPatience = 10 * time.Second

// kept is what keeps a daemon's jobs.
type kept struct {
	keeper
	// release is to be called once the store is closed.
	release func()
	// holds are shared with other processes, and alive returns how many these are with this one; both are nil where there are none.
	holds transfer.Holds
	alive func() int
	// parts are those of runs that are shared with them; nil where there are none.
	parts daemon.Parts
}

// remember opens the store of a directory, or the ledger that several processes share. The store is only a cache: if it cannot be opened, dray logs
// that and continues without it. Only a daemon that shares its work needs the ledger: then keep returns the error.
func (a *app) remember(ctx context.Context, cfg *config.Config, log *slog.Logger) memory {
	options := store.Options{Log: log, Now: time.Now}
	var m memory
	var err error
	if cfg.Cluster.Ledger != "" {
		m, err = a.ledger(ctx, cfg.Cluster, options)
	} else {
		m, err = directory(ctx, a.memoryDir(cfg), options)
	}
	if err == nil && m.store != nil {
		err = prune(ctx, m.store)
	}
	if err != nil && ctx.Err() == nil {
		log.LogAttrs(ctx, slog.LevelWarn, "no memory of earlier runs", slog.Any("err", err))
	}
	return m
}

// directory opens the store of a directory; empty for none.
func directory(ctx context.Context, dir string, options store.Options) (memory, error) {
	forgets := memory{keep: func(_ context.Context, m *metrics.Metrics, log *slog.Logger) (kept, error) {
		return kept{keeper: daemon.NewAlone(forgetful{}, m.Scheduled, log), release: func() {}}, nil
	}}
	if dir == "" {
		return forgets, nil
	}
	s, err := store.Open(ctx, dir, options)
	if s == nil {
		return forgets, err
	}
	return memory{store: s, keep: func(_ context.Context, m *metrics.Metrics, log *slog.Logger) (kept, error) {
		release, err := store.Claim(dir)
		if err != nil {
			return kept{}, fmt.Errorf("another dray run works with this stateDir; give each its own: %w", err)
		}
		return kept{keeper: daemon.NewAlone(s, m.Scheduled, log), release: release}, nil
	}}, err
}

// ledger opens the store in a ledger.
func (a *app) ledger(ctx context.Context, c config.Cluster, options store.Options) (memory, error) {
	l, err := store.Join(ctx, c.Ledger.Reveal(), options)
	if err != nil {
		return memory{keep: func(context.Context, *metrics.Metrics, *slog.Logger) (kept, error) {
			return kept{}, fmt.Errorf("cluster: %w", err)
		}}, err
	}
	return memory{store: l.Store, patience: ledgerPatience, keep: func(ctx context.Context, m *metrics.Metrics, log *slog.Logger) (kept, error) {
		member, err := l.Enter(ctx, store.MemberOptions{Name: replicaName(c), Dray: buildVersion().Version, Lease: c.Lease, Events: m.Ledger()})
		if err != nil {
			return kept{}, fmt.Errorf("cluster: %w", err)
		}
		shared := daemon.NewShared(ctx, member, m.Scheduled, log)
		m.Sharing(func() metrics.Sharing { return sharingOf(ctx, shared) })
		return kept{shared, func() {}, member, member.Alive, shared.Parts(member)}, nil
	}}, nil
}

// sharingOf returns how this process stands among the others.
func sharingOf(ctx context.Context, shared *daemon.Shared) metrics.Sharing {
	replicas, _ := shared.Replicas(ctx) // the store has logged it
	own, inForce := shared.Generations()
	return metrics.Sharing{Replicas: len(replicas), Up: shared.Ledger().Reachable, Decides: own == inForce}
}

// replicaName is the name of this process among those of a cluster.
func replicaName(c config.Cluster) string {
	if c.Name != "" {
		return c.Name
	}
	host, err := os.Hostname()
	if err != nil {
		return "dray"
	}
	return host
}

// forgetful is the memory of a daemon without a store.
type forgetful struct{}

// JobStates implements daemon.Memory.
func (forgetful) JobStates(context.Context) (map[string]record.State, error) { return nil, nil }

// KeepRun implements daemon.Memory.
func (forgetful) KeepRun(context.Context, record.JobRun, record.State) error { return nil }

// KeepJobs implements daemon.Memory.
func (forgetful) KeepJobs(context.Context, map[string]record.State) error { return nil }

// Pauses implements daemon.Memory.
func (forgetful) Pauses(context.Context) (map[string]record.Pause, error) { return nil, nil }

// KeepPause implements daemon.Memory.
func (forgetful) KeepPause(context.Context, string, record.Pause) error { return daemon.ErrNoMemory }

// DropPauses implements daemon.Memory.
func (forgetful) DropPauses(context.Context, []string) error { return nil }
