package mirror

import "sync"

// lane is what goes from one registry to another.
type lane struct{ source, target string }

// lanes bound what is under way between any two registries: one that hangs then holds up nobody else's imports.
type lanes struct {
	mu     sync.Mutex
	places map[lane]chan struct{}
}

func newLanes() *lanes { return &lanes{places: map[lane]chan struct{}{}} }

func (l *lanes) of(out Outcome) chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := lane{out.Source.Registry, out.Target.Registry}
	if l.places[key] == nil {
		l.places[key] = make(chan struct{}, importsPerLane)
	}
	return l.places[key]
}

// each calls f for the outcomes that are wanted, concurrently, and returns when all have ended.
func (l *lanes) each(runs []*run, wanted func(*run, Outcome) bool, f func(r *run, i int)) {
	var group sync.WaitGroup
	for _, r := range runs {
		for i, out := range r.result.Outcomes {
			if !wanted(r, out) {
				continue
			}
			places := l.of(out)
			group.Go(func() {
				places <- struct{}{}
				defer func() { <-places }()
				f(r, i)
			})
		}
	}
	group.Wait()
}
