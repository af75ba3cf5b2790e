package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"sync"

	"github.com/draysync/dray/internal/auth"
	"github.com/draysync/dray/internal/aws"
	"github.com/draysync/dray/internal/config"
	"github.com/draysync/dray/internal/google"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/registry"
	"github.com/draysync/dray/internal/transfer"
	"github.com/draysync/dray/internal/wire"
)

// links are the connections to registries, with their learned state. Generations share them as long as the registries' settings do not change.
type links struct {
	reach       reach
	credentials *auth.Store
	files       string // a digest of the certificates
	clouds      clouds
	azure       string // the config's Azure settings
	unsigned    *mirror.Unsigned
	client      *registry.Client
	// newEngines builds the engines, in order of preference; the last one copies, and can do any import.
	newEngines func() ([]mirror.Engine, *transfer.Engine)

	mu      sync.Mutex
	users   int // generations
	engines []mirror.Engine
	copying *transfer.Engine
}

// engineLasts limits what an engine may learn about blobs before a new one replaces it. The store keeps the shared knowledge.
const engineLasts = 20_000

// mirror returns a mirror without the parts that belong to a run.
func (l *links) mirror() *mirror.Mirror {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.copying == nil || l.copying.Size() > engineLasts {
		l.engines, l.copying = l.newEngines()
	}
	return &mirror.Mirror{
		Observer: l.client, Pages: l.client, Listings: l.client, Manifests: l.copying, Engines: l.engines, Signatures: signatureSource{l.client, l.copying}, Unsigned: l.unsigned,
	}
}

// release ends one use of the links; the last user closes them.
func (l *links) release() {
	l.mu.Lock()
	l.users--
	last := l.users == 0
	l.mu.Unlock()
	if last {
		_ = l.client.Close() // idle connections only
	}
}

// link returns links for a config, existing ones if they match, and counts one more user.
func (p *process) link(cfg *config.Config) (*links, error) {
	if err := wire.CheckProxies(p.env); err != nil {
		return nil, &exitError{exitUsage, err}
	}
	credentials, err := auth.Load(p.env)
	if err != nil {
		return nil, &exitError{exitFailed, err}
	}
	l := &links{reach: reachOf(cfg.Registries), credentials: credentials, files: p.certificates(cfg), azure: azureKey(cfg), unsigned: &p.unsigned, users: 1}
	if old := p.links; old != nil && old.files == l.files && old.azure == l.azure && reflect.DeepEqual(old.reach, l.reach) && reflect.DeepEqual(old.credentials, credentials) {
		old.mu.Lock()
		defer old.mu.Unlock()
		old.users++
		return old, nil
	}
	side, err := newAzure(cfg, nil, p.log)
	if err != nil {
		return nil, &exitError{exitUsage, fmt.Errorf("%s: %w", cfg.Path, err)}
	}
	l.clouds = clouds{azure: side, aws: aws.New(aws.Options{Proxy: proxyFor}), google: google.New(google.Options{Proxy: proxyFor, Getenv: p.env})}
	options := registry.Options{
		Hosts: l.reach.hosts, Mirrors: l.reach.mirrors, ByHead: l.reach.byHead, Hub: l.reach.byHub, Keychain: l.reach.keychain(credentials, l.clouds), Make: l.reach.makers(l.clouds.aws), ECR: l.reach.ecrLister(credentials, l.clouds.aws), UserAgent: userAgent(), Log: p.log, Temp: p.memoryDir(cfg),
		Bandwidth: p.limits.bandwidth, Sharers: p.limits.sharers,
		Wrap: func(name string, next http.RoundTripper) http.RoundTripper {
			next = p.work.transport(next)
			if p.metrics != nil {
				next = p.metrics.Transport(name, next)
			}
			return p.limits.wrap(name, next)
		},
	}
	if p.store != nil {
		options.Keep, options.Findings = p.store.PutManifest, p.store
	}
	if l.client, err = registry.New(options); err != nil {
		return nil, &exitError{exitUsage, fmt.Errorf("%s: %w", cfg.Path, err)}
	}
	l.newEngines = func() (engines []mirror.Engine, copying *transfer.Engine) {
		copying = newEngine(l.client, p.store, p.holds, p.limits, p.log)
		if side != nil {
			engines = append(engines, side.engine(l.client, credentials, p.store, p.limits, copying, p.log))
		}
		return append(engines, copying), copying
	}
	return l, nil
}

// certificates returns a digest of the files that the TLS settings of registries and of Azure name, if they may change.
func (p *process) certificates(cfg *config.Config) string {
	if p.readFile == nil {
		return ""
	}
	sum := sha256.New()
	content := json.NewEncoder(sum)
	add := func(key string, names ...string) {
		for _, name := range names {
			if name == "" {
				continue
			}
			data, err := p.readFile(name)
			_ = content.Encode([]string{key, name, string(data), errorText(err)}) // to a hash
		}
	}
	for _, key := range slices.Sorted(maps.Keys(cfg.Registries)) {
		tls := cfg.Registries[key].TLS
		add(key, tls.CAFile, tls.CertFile, tls.KeyFile)
	}
	add("azure", cfg.Azure.Hosts.CAFile)
	return string(sum.Sum(nil))
}
