package daemon

import (
	"context"
	"fmt"
	"time"
)

const (
	// buildLasts is how long the build of a generation is waited for. It reads files, and sends no request.
	buildLasts = 90 * time.Second
	// buildEnds is how long it is waited for once the daemon stops.
	buildEnds = 300 * time.Millisecond
)

var errBuildHangs = fmt.Errorf("the config, or a file that it names, cannot be read: its file system has given no answer for %s", buildLasts)

// builder builds one generation at a time. It does not wait for one that hangs, as on a file system that is away: no context ends that.
type builder struct {
	build func(context.Context) (Generation, error)
	// slot has room for the one that builds.
	slot chan struct{}
	// late is called when one that was not waited for has ended.
	late func()
}

type generated struct {
	generation Generation
	err        error
}

// Build returns a new generation.
func (b *builder) Build(ctx context.Context) (Generation, error) {
	limit := time.NewTimer(buildLasts)
	defer limit.Stop()
	select {
	case b.slot <- struct{}{}:
		limit.Reset(buildLasts)
	case <-limit.C:
		return Generation{}, errBuildHangs
	case <-ctx.Done():
		return Generation{}, ctx.Err()
	}
	result := make(chan generated, 1)
	go func() {
		g, err := b.build(ctx)
		result <- generated{g, err}
	}()
	err := errBuildHangs
	select {
	case r := <-result:
		<-b.slot
		return r.generation, r.err
	case <-limit.C:
	case <-ctx.Done():
		err = ctx.Err()
		limit.Reset(buildEnds)
		select {
		case r := <-result:
			<-b.slot
			return r.generation, r.err
		case <-limit.C:
		}
	}
	go b.drop(result)
	return Generation{}, err
}

// drop closes a generation that nobody waits for.
func (b *builder) drop(result <-chan generated) {
	if r := <-result; r.err == nil {
		r.generation.Close()
	}
	<-b.slot
	b.late()
}
