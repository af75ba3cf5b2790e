package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/draysync/dray/cmd/draybench/internal/corpus"
	"github.com/draysync/dray/cmd/draybench/internal/peer"
	"github.com/draysync/dray/cmd/draybench/internal/server"
	"github.com/draysync/dray/internal/emulator/registry"
)

// stand is the world of one run: a source that all runs share, a target and homes of its own, and a proxy before each
// registry.
type stand struct {
	source         *corpus.Source
	target         server.Server
	before, behind side // of the tool: where it reads and where it writes
	dir            string
	ca             string // path of the authorities of both sides; "" is plain HTTP
}

// side is a proxy that listens.
type side struct {
	*registry.Proxy
	server *registry.Server
}

func newSide(url string, latency time.Duration, tls bool) (side, error) {
	proxy, err := registry.NewProxy(url, latency)
	if err != nil {
		return side{}, err
	}
	start := proxy.Start
	if tls {
		start = proxy.StartTLS
	}
	server, err := start()
	return side{proxy, server}, err
}

// newStand makes everything below dir. It needs close.
func newStand(ctx context.Context, kind server.Kind, dir string, source *corpus.Source, latency time.Duration, tls bool) (*stand, error) {
	own, err := os.MkdirTemp(dir, "run-")
	if err != nil {
		return nil, fmt.Errorf("prepare a run: %w", err)
	}
	s := &stand{source: source, dir: own}
	if err := s.start(ctx, kind, latency, tls); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare a run: %w", err), s.close())
	}
	return s, nil
}

func (s *stand) start(ctx context.Context, kind server.Kind, latency time.Duration, tls bool) error {
	dir := filepath.Join(s.dir, "target")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	var err error
	if s.target, err = server.Start(ctx, kind, dir); err != nil {
		return err
	}
	if s.before, err = newSide(s.source.URL, latency, tls); err != nil {
		return err
	}
	if s.behind, err = newSide(s.target.URL, latency, tls); err != nil || !tls {
		return err
	}
	s.ca = filepath.Join(s.dir, "ca.pem")
	return os.WriteFile(s.ca, slices.Concat(s.before.server.CA, s.behind.server.CA), 0o600)
}

// work is what the tool is asked to do, with the home of that name.
func (s *stand) work(copies []peer.Copy, home string) (peer.Work, error) {
	dir := filepath.Join(s.dir, home)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return peer.Work{}, fmt.Errorf("make a home: %w", err)
	}
	return peer.Work{Source: s.before.server.Host, Target: s.behind.server.Host, CA: s.ca, Copies: copies, Dir: dir}, nil
}

// list has both registries list the tags of a task with their digests; those of none for a task of none.
func (s *stand) list(t task) {
	tags := func(path func(peer.Copy) string) func(string) []registry.ListedTag {
		if len(t.copies) == 0 {
			return nil
		}
		all := map[string][]registry.ListedTag{}
		for _, c := range t.copies {
			for _, tag := range c.Tags {
				all[path(c)] = append(all[path(c)], registry.ListedTag{Name: tag, Digest: t.want[image{c.Target, tag}]})
			}
		}
		return func(repository string) []registry.ListedTag { return all[repository] }
	}
	s.before.List(tags(func(c peer.Copy) string { return c.Repository }))
	s.behind.List(tags(func(c peer.Copy) string { return c.Target }))
}

// close stops what is the run's own, and removes it.
func (s *stand) close() error {
	for _, side := range []side{s.before, s.behind} {
		if side.server != nil {
			side.server.Close()
		}
	}
	if s.target.Stop != nil {
		s.target.Stop()
	}
	return os.RemoveAll(s.dir)
}
