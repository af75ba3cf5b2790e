package config

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// tenThousand is a config of 10,000 mappings, some of them alike, as a program would write it.
func tenThousand() []byte {
	var b strings.Builder
	b.WriteString("version: 1\ndefaults:\n  platforms: [linux/amd64, linux/arm64]\n  schedule: \"17 */6 * * *\"\n  jitter: 10m\nmappings:\n")
	for i := range 10_000 {
		fmt.Fprintf(&b, `  # Team %[1]d asked for this one.
  - name: team-%[1]d/app
    source: ghcr.io/acme/team-%[1]d/app
    target: registry.corp.example:5000/mirror/acme/team-%[1]d/app
    tags:
      include: ["%[2]d.*", latest, "/v[0-9]+\\.%[2]d/"]
      exclude: ["*_rc*", "*-debug"]
      semver: ">= %[2]d.19"
      newest: 5
    schedule: "%[3]d */2 * * *"
    timezone: Europe/Berlin
    priority: %[4]d
`, i, i%7, i%60, i%100)
	}
	return []byte(b.String())
}

// BenchmarkParse shows what a large file costs. One that took the memory with the square of its mappings would show here.
func BenchmarkParse(b *testing.B) {
	data := tenThousand()
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		cfg, err := Parse("dray.yaml", data, nothing(""))
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		b.ReportMetric(float64(m.HeapAlloc)/(1<<20), "MiB-kept")
		runtime.KeepAlive(cfg)
		b.StartTimer()
	}
}
