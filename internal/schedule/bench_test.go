package schedule

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkLoad is what the schedules of 10,000 mappings cost when a config is read.
func BenchmarkLoad(b *testing.B) {
	specs := []string{"17 */6 * * *", "@daily", "@every 90m", "*/15 1-5 * * MON-FRI", "0 0 29 2 *"}
	zones := []string{"Europe/Berlin", "", "America/New_York", "Asia/Beirut"}
	now := noon()
	b.ReportAllocs()
	for b.Loop() {
		var p Parser
		for i := range 10_000 {
			s, err := p.Parse(specs[i%len(specs)], zones[i%len(zones)])
			if err != nil {
				b.Fatal(err)
			}
			if err := CheckJitter(s, 10*time.Minute); err != nil {
				b.Fatal(err)
			}
			Due(s, fmt.Sprint(i), 10*time.Minute, now.Add(-time.Hour), now, now)
		}
	}
}

func BenchmarkNext(b *testing.B) {
	for _, spec := range []string{"*/15 * * * *", "30 2 * * *", "0 0 29 2 *", "@every 90m"} {
		b.Run(spec, func(b *testing.B) {
			s, now := mustParse(b, spec, "Europe/Berlin"), noon()
			b.ReportAllocs()
			for b.Loop() {
				s.Next(now, now)
			}
		})
	}
}

// BenchmarkQueue is one job of 10,000 that is taken out when it is due and put back.
func BenchmarkQueue(b *testing.B) {
	var q Queue
	for i := range 10_000 {
		q.Put(fmt.Sprint(i), noon().Add(time.Duration(i)*time.Second), i%3)
	}
	b.ReportAllocs()
	for b.Loop() {
		now, _ := q.Next()
		for _, key := range q.Pop(now, 1) {
			q.Put(key, now.Add(10_000*time.Second), 1)
		}
	}
}
