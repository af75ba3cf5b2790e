package fault

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/draysync/dray/cmd/draybench/internal/peer"
	"github.com/draysync/dray/internal/emulator/registry"
)

// The two sides of a copy.
const (
	Source = "source"
	Target = "target"
)

// end is one of the two registries of a stage: a gate, then what wraps have put there, then the registry.
type end struct {
	stage    *stage
	auth     *registry.Auth
	registry *registry.Registry
	chain    http.Handler
	gate     *registry.Gate
	server   *registry.Server
}

// stage is the world of one program under one fault. Nothing of it is shared with another run.
type stage struct {
	source, target *end
	// other is a third host, which some faults lead to.
	other *end
	work  peer.Work
	// want is the digest of each "repository:tag" that the target has to hold.
	want map[string]string
	// healed ends all faults.
	healed atomic.Bool
	// hits counts the requests that a fault has changed.
	hits atomic.Int64

	mu     sync.Mutex
	broken []string
	flaws  []string
}

// newStage starts both registries with the fault in place. The caller closes the stage, and removes dir.
func newStage(f fixture, s scenario, dir string) (*stage, error) {
	st := &stage{want: map[string]string{}}
	st.source = st.newEnd(registry.Options{Auth: s.authAt(Source)})
	st.target = st.newEnd(registry.Options{Auth: s.authAt(Target), LaxManifests: true})
	st.target.chain = st.watchTags(st.target.chain)
	st.other = st.newEnd(registry.Options{})
	st.work.Dir = dir
	for _, tagged := range f.images {
		if err := tagged.Image.Push(st.source.registry, tagged.Repository, tagged.Tag); err != nil {
			return nil, fmt.Errorf("fill the source: %w", err)
		}
		st.order(tagged)
	}
	s.arm(st, st.at(s.side), f)
	for _, e := range st.ends() {
		server, err := e.gate.Start()
		if err != nil {
			st.close()
			return nil, err
		}
		e.server = server
	}
	st.work.Source, st.work.Target = st.source.server.Host, st.target.server.Host
	if err := st.signIn(); err != nil {
		st.close()
		return nil, err
	}
	return st, nil
}

func (st *stage) newEnd(options registry.Options) *end {
	e := &end{stage: st, auth: options.Auth, registry: registry.New(options)}
	e.chain = e.registry
	e.gate = registry.NewGate(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { e.chain.ServeHTTP(w, r) }))
	return e
}

// targetOf is where a repository is copied to.
func targetOf(repository string) string { return "mirror/" + path.Base(repository) }

// order adds an image to what is to be copied.
func (st *stage) order(tagged registry.Tagged) {
	target := targetOf(tagged.Repository)
	st.want[target+":"+tagged.Tag] = tagged.Image.Digest
	for i, c := range st.work.Copies {
		if c.Repository == tagged.Repository {
			st.work.Copies[i].Tags = append(c.Tags, tagged.Tag)
			return
		}
	}
	st.work.Copies = append(st.work.Copies, peer.Copy{Repository: tagged.Repository, Target: target, Tags: []string{tagged.Tag}})
}

func (st *stage) at(side string) *end {
	if side == Source {
		return st.source
	}
	return st.target
}

// signIn leaves what `docker login` would leave in the home directory of the program.
func (st *stage) signIn() error {
	type entry struct {
		Auth string `json:"auth"`
	}
	auths := map[string]entry{}
	for _, e := range st.ends() {
		if e.auth != nil {
			auths[e.server.Host] = entry{base64.StdEncoding.EncodeToString([]byte(user + ":" + password))}
		}
	}
	if len(auths) == 0 {
		return nil
	}
	text, err := json.Marshal(map[string]any{"auths": auths})
	if err != nil {
		return fmt.Errorf("sign in: %w", err)
	}
	folder := filepath.Join(st.work.Dir, ".docker")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("sign in: %w", err)
	}
	if err := os.WriteFile(filepath.Join(folder, "config.json"), text, 0o600); err != nil {
		return fmt.Errorf("sign in: %w", err)
	}
	return nil
}

func (st *stage) close() {
	for _, e := range st.ends() {
		if e.server != nil {
			e.server.Close()
		}
	}
}

func (st *stage) ends() []*end { return []*end{st.source, st.target, st.other} }

// watchTags looks at each tag in the moment in which it was written.
func (st *stage) watchTags(next http.Handler) http.Handler {
	tagged := registry.MatchKind(http.MethodPut, registry.KindManifest)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r)
		repository, tag, found := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/manifests/")
		if !found || !tagged(r) || strings.Contains(tag, ":") || st.target.registry.Digest(repository, tag) == "" {
			return
		}
		st.check(repository, tag)
	})
}

// check notes a tag whose content is not whole.
func (st *stage) check(repository, tag string) bool {
	err := st.target.registry.Whole(repository, tag)
	if err != nil {
		st.mu.Lock()
		defer st.mu.Unlock()
		st.broken = append(st.broken, fmt.Sprintf("%s:%s: %v", repository, tag, err))
	}
	return err == nil
}

// flaw notes what no program may do, whatever the fault.
func (st *stage) flaw(text string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if !slices.Contains(st.flaws, text) {
		st.flaws = append(st.flaws, text)
	}
}

// arrived counts the tags that are at the target as they should be, and notes those that are otherwise.
func (st *stage) arrived() int {
	n := 0
	for name, want := range st.want {
		repository, tag, _ := strings.Cut(name, ":")
		switch got := st.target.registry.Digest(repository, tag); {
		case got == "":
		case !st.check(repository, tag):
		case got != want:
			st.flaw(fmt.Sprintf("%s has digest %s, not %s", name, got, want))
		default:
			n++
		}
	}
	return n
}
