package store

import (
	"fmt"
	"testing"
)

const many = 10_000

func BenchmarkAddBlobs(b *testing.B) {
	ds, n := digests(0, many), 0
	s := newStand(b).open(b)
	for b.Loop() {
		n++
		must(b, s.AddBlobs(b.Context(), repo(fmt.Sprint("r", n)), ds, true))
	}
}

func BenchmarkHolds(b *testing.B) {
	ds := digests(0, many)
	s := newStand(b).open(b)
	must(b, s.AddBlobs(b.Context(), repo("a"), ds, true))
	for b.Loop() {
		if held(b, s, repo("a"), ds...) != many {
			b.Fatal("some are gone")
		}
	}
}

// BenchmarkPlaces asks for a blob that a thousand repositories hold.
func BenchmarkPlaces(b *testing.B) {
	s := newStand(b).open(b)
	for i := range 1000 {
		must(b, s.AddBlobs(b.Context(), repo(fmt.Sprint("r", i)), digests(0, 10), true))
	}
	for b.Loop() {
		if got, err := s.Places(b.Context(), repo("").Registry, digest(3)); len(got) != maxPlaces || err != nil {
			b.Fatal(got, err)
		}
	}
}

func BenchmarkAddOneBlob(b *testing.B) {
	s, n := newStand(b).open(b), 0
	for b.Loop() {
		n++
		must(b, s.AddBlobs(b.Context(), repo("a"), digests(n, n+1), false))
	}
}

func BenchmarkOpen(b *testing.B) {
	d := newStand(b)
	fill(b, d.open(b), 100)
	for b.Loop() {
		must(b, d.open(b).Close())
	}
}
