package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/draysync/dray/internal/config"
	"github.com/draysync/dray/internal/metrics"
	"github.com/draysync/dray/internal/serve"
	"github.com/draysync/dray/internal/web"
)

// servingGrace is how long pulls under way may take when the server is stopped.
const servingGrace = 5 * time.Second

func (a *app) serveCommand() *cobra.Command {
	var s config.Served
	var mirrors []string
	c := &cobra.Command{
		Use:               "serve LAYOUT…",
		ValidArgsFunction: completeFolder,
		Short:             "Serve OCI image layouts as a read-only registry",
		Long: `Serve OCI image layouts as a registry that containerd, podman, Docker and others pull from, until SIGTERM or
SIGINT. Nothing can be pushed. A LAYOUT is the folder of a layout, or a folder with layouts below it:

  dray serve /srv/stage                          /srv/stage/team/app is the repository team/app
  dray serve /srv/stage/app                      is the repository app
  dray serve team/app=/srv/app mirror=/srv/hub   under these names, or below them

Images with a full name in index.json, such as docker.io/library/alpine:3.20, are served under that as well. Nodes
that ask a mirror say by ?ns=docker.io which registry they mean: its repositories are those below docker.io, or
below what --mirror-of says.

dray sees a layout that is written meanwhile, and a renewed certificate or file of users, at the next request. A
damaged blob is never served whole. Without TLS dray serves this machine only, unless --plain-http is given.

` + exitHelp,
		RunE: func(c *cobra.Command, args []string) (err error) {
			if s.Listen == "" {
				return usage("--listen is empty: write host:port, or unix: and an absolute path")
			}
			if s.Layouts, err = layoutsOf(args); err != nil {
				return err
			}
			if s.Mirrors, err = mirrorsOf(mirrors); err != nil {
				return err
			}
			return a.serveLayouts(c.Context(), s)
		},
	}
	f := c.Flags()
	f.StringVar(&s.Listen, "listen", "127.0.0.1:5000", "the `ADDRESS` to listen on: host:port, or unix: and the absolute path of a socket")
	f.StringVar(&s.CertFile, "tls-cert", "", "the `FILE` of the certificate with its chain, in PEM")
	f.StringVar(&s.KeyFile, "tls-key", "", "the `FILE` of the certificate's key, in PEM")
	f.StringVar(&s.Users, "htpasswd", "", "the `FILE` of who may pull, as htpasswd -B writes it; without it everybody")
	f.BoolVar(&s.PlainHTTP, "plain-http", false, "serve other machines without TLS")
	f.StringArrayVar(&mirrors, "mirror-of", nil, "below which prefix a registry's repositories are: `HOST=PREFIX`; HOST= for none; may be repeated")
	c.MarkFlagsRequiredTogether("tls-cert", "tls-key")
	return c
}

// layoutsOf reads the arguments of `dray serve`.
func layoutsOf(args []string) (layouts []config.ServedLayout, _ error) {
	if len(args) == 0 {
		return nil, usage("name at least one LAYOUT, the path of its folder")
	}
	for _, arg := range args {
		l := config.ParseServedLayout(arg)
		info, err := os.Stat(l.Path)
		if err == nil && !info.IsDir() {
			err = fmt.Errorf("%s is no folder", l.Path)
		}
		if err != nil {
			return nil, &exitError{exitFailed, err}
		}
		layouts = append(layouts, l)
	}
	return layouts, nil
}

// mirrorsOf reads the values of --mirror-of.
func mirrorsOf(values []string) (map[string]string, error) {
	mirrors := map[string]string{}
	for _, value := range values {
		host, prefix, err := config.ParseMirrorOf(value)
		if err != nil {
			return nil, usage("--mirror-of: %w", err)
		}
		mirrors[host] = prefix
	}
	return mirrors, nil
}

// exposed reports whether others than this machine can reach a listener.
func exposed(address net.Addr) bool {
	tcp, ok := address.(*net.TCPAddr)
	return ok && !tcp.IP.IsLoopback()
}

// errExposed says that a registry would have no TLS beyond this machine.
var errExposed = errors.New("can be reached by other machines: give a certificate and its key, or allow plain HTTP")

// newRegistry returns a registry over layouts, and the listener that it is for. Scraped answers at its /metrics; nil for nothing there.
func newRegistry(ctx context.Context, c *config.Served, scraped http.Handler, log *slog.Logger) (server *serve.Server, door net.Listener, err error) {
	warn := func(path string, err error) {
		log.LogAttrs(ctx, slog.LevelWarn, "a changed file stays unused", slog.String("source", path), slog.Any("err", err))
	}
	options := serve.Options{Mirrors: c.Mirrors, Metrics: scraped, Log: log}
	for _, l := range c.Layouts {
		path, err := filepath.Abs(l.Path)
		if err != nil {
			return nil, nil, err
		}
		options.Layouts = append(options.Layouts, serve.Layout{Name: l.Name, Path: path})
	}
	if c.CertFile != "" {
		if options.Certificate, err = serve.LoadCertificate(c.CertFile, c.KeyFile, warn); err != nil {
			return nil, nil, err
		}
	}
	if c.Users != "" {
		if options.Users, err = serve.LoadUsers(c.Users, warn); err != nil {
			return nil, nil, err
		}
	}
	if door, err = web.Listen(ctx, c.Listen); err != nil {
		return nil, nil, err
	}
	if exposed(door.Addr()) && options.Certificate == nil && !c.PlainHTTP {
		return nil, nil, errors.Join(fmt.Errorf("%s %w", door.Addr(), errExposed), door.Close())
	}
	log.LogAttrs(ctx, slog.LevelInfo, "serving layouts", slog.String("target", door.Addr().String()))
	return serve.New(options), door, nil
}

// serveLayouts serves until ctx ends. Pulls under way then have a grace.
func (a *app) serveLayouts(ctx context.Context, c config.Served) error {
	var server *serve.Server
	scraped := metrics.NewServed(buildVersion().Version, func() serve.Stats { return server.Stats() })
	server, door, err := newRegistry(ctx, &c, scraped.Handler(), a.logger(config.Log{}))
	switch {
	case errors.Is(err, errExposed):
		return usage("%w (--tls-cert and --tls-key, or --plain-http)", err)
	case err != nil:
		return &exitError{exitFailed, err}
	}
	a.work.allow(servingGrace)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(door) }()
	select {
	case err := <-ended:
		return &exitError{exitFailed, err}
	case <-ctx.Done():
	}
	brief, cancel := context.WithTimeout(context.WithoutCancel(ctx), servingGrace)
	defer cancel()
	go func() {
		select {
		case <-a.work.abandoned:
			cancel()
		case <-brief.Done():
		}
	}()
	_ = server.Shutdown(brief) // clients begin again with what it cuts off
	if err := <-ended; err != nil {
		return &exitError{exitFailed, err}
	}
	return nil
}
