package main

import (
	"strings"
	"testing"
)

// TestCheckNoSecrets: a config can be checked where its secrets are not.
func TestCheckNoSecrets(t *testing.T) {
	config := writeConfig(t, "x-tags: &tags [v1]", "registries: {r.example: {username: me, password: '${env:DRAY_NOT_SET}', tls: {caFile: /nowhere/ca.pem}}}",
		"mappings:", mapping("source: '${env:DRAY_NOT_SET_EITHER}/app', target: r.example/app, tags: *tags"))
	if a := dray(t, "check", "-c", config); a.code != exitUsage || !strings.Contains(a.err, "DRAY_NOT_SET") {
		t.Errorf("with secrets: exit code %d\n%s%s", a.code, a.out, a.err)
	}
	if a := dray(t, "check", "--no-secrets", "-c", config); a.code != exitDone || !strings.Contains(a.out, "is valid: 1 mapping, 2 registries") {
		t.Errorf("without: exit code %d\n%s%s", a.code, a.out, a.err)
	}
	broken := writeConfig(t, "jobs: none", "mappings:", mapping("source: '${env:DRAY_NOT_SET}/app', target: r.example/app, tags: [v1]"))
	if a := dray(t, "check", "--no-secrets", "-c", broken); a.code != exitUsage || !strings.Contains(a.err, "jobs") || strings.Contains(a.err, "NOT_SET") {
		t.Errorf("a mistake: exit code %d\n%s%s", a.code, a.out, a.err)
	}
	if a := dray(t, "check", "--no-secrets", "--online", "-c", config); a.code != exitUsage {
		t.Errorf("with --online: exit code %d\n%s%s", a.code, a.out, a.err)
	}
}
