package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/postgrestest"
)

// TestReplicaTakesUpAnImport kills the replica that waits for an import of Azure's with SIGKILL: another takes the import up, and begins no other.
func TestReplicaTakesUpAnImport(t *testing.T) {
	timed(t)
	d := newAzureDesk(t, time.Millisecond)
	end := d.hold(t)
	image := registry.MultiArch(7, registry.ImageOptions{})
	if err := image.Push(d.source.Content, "app", "v1"); err != nil {
		t.Fatal(err)
	}
	url := postgrestest.Database(t)
	var replicas []*running
	for n := range 2 {
		own := newDesk(t)
		text := d.text(mapping("name: app, source: sourceregistry-b2c3.azurecr.io/app:v1, target: targetregistry.azurecr.io/app, engine: acr, referrers: false, schedule: '@hourly'"))
		own.write(own.config, strings.Join([]string{strings.Replace(text, "stateDir: state", "stateDir: "+own.target+"/state", 1), serverLine(own.socket),
			fmt.Sprintf("cluster: {ledger: '%s', name: replica-%d, lease: 10s}", url, n)}, "\n"))
		replicas = append(replicas, launch(t, own.config, own.socket, d.env...))
	}
	d.polled(t, 2)
	var at string
	replicas[0].until(t, "it is known who waits", func() bool { at = find(replicas[0].status(t), "app").Replica; return at != "" })
	dead := replicaOf(at)
	if err := replicas[dead].Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-replicas[dead].ended
	other := replicas[1-dead]
	other.until(t, "the import is taken up", func() bool { return strings.Contains(other.log.String(), "taking up an import that was begun before") })
	end()
	other.until(t, "the run has ended", func() bool { return find(other.status(t), "app").LastSuccess.After(time.Time{}) })
	if n := len(d.cloud.Account().Imports); n != 1 || d.target.Content.Digest("app", "v1") != image.Digest {
		t.Errorf("%d imports were begun, the tag is %q", n, d.target.Content.Digest("app", "v1"))
	}
}
