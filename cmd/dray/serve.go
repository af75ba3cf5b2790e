package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/draysync/dray/internal/config"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/serve"
	"github.com/draysync/dray/internal/web"
)

// serving are the flags of `dray serve`.
type serving struct {
	listen, cert, key, users string
	plain                    bool
	mirrors                  []string
}

// servingGrace is how long pulls under way may take when the server is stopped.
const servingGrace = 5 * time.Second

func (a *app) serveCommand() *cobra.Command {
	var s serving
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
		RunE: func(c *cobra.Command, args []string) error { return a.serveLayouts(c.Context(), s, args) },
	}
	f := c.Flags()
	f.StringVar(&s.listen, "listen", "127.0.0.1:5000", "the `ADDRESS` to listen on: host:port, or unix: and the absolute path of a socket")
	f.StringVar(&s.cert, "tls-cert", "", "the `FILE` of the certificate with its chain, in PEM")
	f.StringVar(&s.key, "tls-key", "", "the `FILE` of the certificate's key, in PEM")
	f.StringVar(&s.users, "htpasswd", "", "the `FILE` of who may pull, as htpasswd -B writes it; without it everybody")
	f.BoolVar(&s.plain, "plain-http", false, "serve other machines without TLS")
	f.StringArrayVar(&s.mirrors, "mirror-of", nil, "below which prefix a registry's repositories are: `HOST=PREFIX`; HOST= for none; may be repeated")
	c.MarkFlagsRequiredTogether("tls-cert", "tls-key")
	return c
}

// layoutsOf reads the arguments of `dray serve`.
func layoutsOf(args []string) ([]serve.Layout, error) {
	if len(args) == 0 {
		return nil, usage("name at least one LAYOUT, the path of its folder")
	}
	var layouts []serve.Layout
	for _, arg := range args {
		name, path, named := strings.Cut(arg, "=")
		if !named || !image.ValidPath(name) {
			name, path = "", arg
		}
		path, err := filepath.Abs(strings.TrimPrefix(path, image.LayoutScheme))
		if err != nil {
			return nil, &exitError{exitFailed, err}
		}
		info, err := os.Stat(path)
		if err == nil && !info.IsDir() {
			err = fmt.Errorf("%s is no folder", path)
		}
		if err != nil {
			return nil, &exitError{exitFailed, err}
		}
		layouts = append(layouts, serve.Layout{Name: name, Path: path})
	}
	return layouts, nil
}

// mirrorsOf reads the values of --mirror-of.
func mirrorsOf(values []string) (map[string]string, error) {
	mirrors := map[string]string{}
	for _, value := range values {
		host, prefix, ok := strings.Cut(value, "=")
		host, err := image.CanonicalHost(host)
		if err != nil || !ok || prefix != "" && !image.ValidPath(prefix) {
			return nil, usage("--mirror-of %q: write HOST=PREFIX, such as docker.io=hub", value)
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

func (a *app) serveLayouts(ctx context.Context, flags serving, args []string) (err error) {
	log := a.logger(config.Log{})
	warn := func(path string, err error) {
		log.LogAttrs(ctx, slog.LevelWarn, "a changed file stays unused", slog.String("source", path), slog.Any("err", err))
	}
	options := serve.Options{Log: log}
	if options.Layouts, err = layoutsOf(args); err != nil {
		return err
	}
	if options.Mirrors, err = mirrorsOf(flags.mirrors); err != nil {
		return err
	}
	if flags.cert != "" {
		if options.Certificate, err = serve.LoadCertificate(flags.cert, flags.key, warn); err != nil {
			return &exitError{exitFailed, err}
		}
	}
	if flags.users != "" {
		if options.Users, err = serve.LoadUsers(flags.users, warn); err != nil {
			return &exitError{exitFailed, err}
		}
	}
	door, err := web.Listen(ctx, flags.listen)
	if err != nil {
		return &exitError{exitFailed, err}
	}
	if exposed(door.Addr()) && options.Certificate == nil && !flags.plain {
		_ = door.Close() // nothing was said
		return usage("%s can be reached by other machines: give --tls-cert and --tls-key, or --plain-http", door.Addr())
	}
	log.LogAttrs(ctx, slog.LevelInfo, "serving layouts", slog.String("target", door.Addr().String()))
	return a.serveUntil(ctx, serve.New(options), door)
}

// serveUntil serves until ctx ends. Pulls under way then have a grace.
func (a *app) serveUntil(ctx context.Context, server *serve.Server, door net.Listener) error {
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
