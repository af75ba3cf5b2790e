package config

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/lazyregexp"
)

// Cluster says with which others a `dray run` shares its work; it is zero for none.
type Cluster struct {
	// Ledger is the URL of a PostgreSQL database.
	Ledger Secret
	// Name is that of this process; empty for the host's.
	Name string
	// Lease is after how long of silence others take over.
	Lease time.Duration
}

const (
	minLease = 10 * time.Second
	maxLease = 25 * time.Second
)

var replicaName = lazyregexp.New(`^[A-Za-z0-9][A-Za-z0-9._-]{0,252}$`)

var errNoLedger = errors.New("this is no URL of a PostgreSQL database: write postgres://USER@HOST/DATABASE, " +
	"or with several hosts postgres://USER@/DATABASE?host=HOST,HOST&port=PORT,PORT")

func (b *builder) cluster(s clusterSection) Cluster {
	if !s.Ledger.set {
		return Cluster{}
	}
	if u, err := url.Parse(s.Ledger.value); err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		b.invalid(s.Ledger, errNoLedger, "the URL of a PostgreSQL database, postgres://USER@HOST/DATABASE")
	}
	if s.Name.set && !replicaName().MatchString(s.Name.value) {
		b.invalid(s.Name, fmt.Errorf("%s is no name of a replica: write letters, digits, '.', '_' and '-'", quote(s.Name.raw)), "letters, digits, '.', '_' and '-'")
	}
	lease, ok := b.span(s.Lease)
	if ok && (lease < minLease || lease > maxLease) {
		b.invalid(s.Lease, fmt.Errorf("%s is no lease: write 10s to 25s", quote(s.Lease.raw)), "a duration from 10s to 25s")
	}
	return Cluster{Ledger: Secret(s.Ledger.value), Name: s.Name.value, Lease: lease}
}

// shared reports a layout in a mapping that several processes run.
func (b *builder) shared(s *mappingSection, m *Mapping) {
	if b.clustered && (m.Source.IsLayout() || slices.ContainsFunc(m.Targets, image.Reference.IsLayout)) {
		b.fail(s.origin, errors.New("a layout lies on one machine's disk, and with cluster any machine may run this mapping"), "give layouts a dray of their own, without cluster")
	}
}
