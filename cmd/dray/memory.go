package main

import (
	"context"

	"github.com/draysync/dray/internal/record"
)

// forgetful is the memory of a daemon without a store.
type forgetful struct{}

// JobStates implements daemon.Memory.
func (forgetful) JobStates(context.Context) (map[string]record.State, error) { return nil, nil }

// KeepRun implements daemon.Memory.
func (forgetful) KeepRun(context.Context, record.JobRun, record.State) error { return nil }

// KeepJobs implements daemon.Memory.
func (forgetful) KeepJobs(context.Context, map[string]record.State) error { return nil }
