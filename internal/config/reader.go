package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
)

// Reader reads a config again and again. A file with mistakes contributes what it did when the config was last accepted, so that those who
// share a config do not stop each other. It is used by one goroutine at a time.
type Reader struct {
	path string
	// data is the main file's content; nil to read it.
	data []byte
	opts Options
	// good are the files' parts that were accepted last, by name, and latest those of the last reading.
	good, latest map[string]*part
	// real and latestReal say whether their main file was there.
	real, latestReal bool
	// listed is what each pattern matched when it could last be read.
	listed map[string][]string
}

// NewReader returns a reader of the file with this path and of those that it includes.
func NewReader(path string, opts Options) *Reader {
	return &Reader{path: path, opts: opts.lookup(), good: map[string]*part{}, listed: map[string][]string{}}
}

// part is what a file contributes to a config. It is read-only.
type part struct {
	// absent is set for a main file that need not be there, and is not.
	absent bool
	data   []byte
	files  files
	// globs are the patterns of imagesFrom.
	globs      []string
	registries map[string]Registry
	receivers  []Receiver
	mappings   []Mapping
	// settings, defaults and include are those of the main file.
	settings *Config
	defaults options
	include  []inclusion
}

// Read reads the config. rejected are the mistakes of files that therefore contribute what they did when the config was last accepted; a new
// file contributes nothing. If err is not nil, it has all mistakes, and nothing can be taken over: the config then has what [Load] says.
func (r *Reader) Read() (cfg *Config, rejected, err error) {
	named, stuck := &inputs{files: files{}}, map[string]Errors{}
	broken := map[string]bool{} // by themselves
	a := r.attempt(named, stuck)
	for found := a.mistakes(a.firstToBlame); len(found) > 0; found = a.mistakes(a.firstToBlame) {
		maps.Copy(stuck, found)
		for _, s := range a.sources {
			broken[s.name] = broken[s.name] || s.broken
		}
		if stuck[r.path] != nil && r.good[r.path] == nil {
			break
		}
		a = r.attempt(named, stuck)
	}
	a = r.relent(a, named, stuck, broken)
	mistakes := a.all(stuck)
	switch {
	case len(mistakes) == 0:
		return r.complete(a), nil, nil
	case a.empty != nil, stuck[r.path] != nil && r.good[r.path] == nil, len(stuck) == len(a.sources) && !a.vanished():
		return a.config(a.sources).withoutContent(), nil, mistakes
	}
	return r.complete(a), mistakes, nil
}

// relent takes over each file that only contradicts one that is stuck meanwhile.
func (r *Reader) relent(a *attempt, named *inputs, stuck map[string]Errors, broken map[string]bool) *attempt {
	if r.good[r.path] == nil && stuck[r.path] != nil {
		return a
	}
	for _, s := range a.sources {
		if stuck[s.name] == nil || broken[s.name] {
			continue
		}
		others := maps.Clone(stuck)
		delete(others, s.name)
		next := r.attempt(named, others)
		if len(next.mistakes(next.firstToBlame)) == 0 && next.empty == nil {
			delete(stuck, s.name)
			a = next
		}
	}
	return a
}

// strictly takes no file in a former state.
func (r *Reader) strictly() (*Config, error) {
	a := r.attempt(&inputs{files: files{}}, nil)
	if all := a.all(a.mistakes(func(*source) bool { return true })); len(all) > 0 {
		return a.config(a.sources).withoutContent(), all
	}
	return r.complete(a), nil
}

// Accept notes that the config that was read last runs.
func (r *Reader) Accept() { r.good, r.real = r.latest, r.latestReal }

// complete returns the config of an attempt without mistakes.
func (r *Reader) complete(a *attempt) *Config {
	r.latest = make(map[string]*part, len(a.sources))
	r.latestReal = a.main.next != nil && !a.main.next.absent
	for _, s := range a.sources {
		if s.next != nil && len(a.sources) > 1 { // if the only file has mistakes, the config that runs goes on as it is
			r.latest[s.name] = s.next
		}
	}
	c := a.config(a.sources)
	if r.opts.Check != nil {
		_ = r.opts.Check(c) // it has found no mistake in another order
	}
	return c
}

// limited returns the mistakes without duplicates, and no more than maxErrors.
func limited(all Errors) Errors {
	seen := map[string]bool{}
	all = slices.DeleteFunc(all, func(e *Error) bool {
		text := e.Error()
		defer func() { seen[text] = true }()
		return seen[text]
	})
	if more := len(all) - maxErrors; more > 1 { // one more may say that there are more
		all = append(all[:maxErrors:maxErrors], &Error{Pos: all[maxErrors].Pos, Err: fmt.Errorf("there are %d more mistakes", more)})
	}
	return all
}

// attempt is a reading of all files, some of which are stuck: they contribute what is good of them.
type attempt struct {
	*Reader
	// named is what all attempts of a reading have read, also where that had mistakes.
	named *inputs
	globs []string
	main  *source
	// sources are main and those that it includes, in order.
	sources []*source
	// listing has the mistakes of no file: patterns that cannot be followed.
	listing *report
	// empty says that there is no mapping; nil for some.
	empty   *Error
	commons *commons
}

// source is a file while it is read.
type source struct {
	*report
	name  string
	good  *part // nil for nothing
	stuck bool
	// broken says that the document has mistakes, whatever the other files have.
	broken bool
	next   *part
	doc    document
	keys   []string // of the document's registries
	order  int
}

func (r *Reader) attempt(named *inputs, stuck map[string]Errors) *attempt {
	a := &attempt{Reader: r, named: named, listing: &report{}, commons: &commons{
		known: map[string]Registry{}, plain: map[string]bool{}, names: map[string]Position{}, hooks: map[string]Position{}, root: r.opts.Root,
	}}
	a.main = a.source(r.path, stuck)
	a.read(a.main, inclusion{path: r.path})
	a.sources = []*source{a.main}
	for _, i := range a.included() {
		s := a.source(i.path, stuck)
		a.read(s, i)
		a.sources = append(a.sources, s)
	}
	for _, s := range a.sources {
		s.broken = len(s.errs) > 0
	}
	a.build()
	for _, s := range a.sources {
		if s.next != nil {
			maps.Copy(a.named.files, s.next.files)
			a.named.globs = append(a.named.globs, s.next.globs...)
		}
	}
	return a
}

func (a *attempt) source(name string, stuck map[string]Errors) *source {
	s := &source{report: &report{}, name: name, good: a.good[name], stuck: stuck[name] != nil}
	if s.stuck {
		s.next = s.good
	}
	return s
}

// read reads the document of a file that is not stuck.
func (a *attempt) read(s *source, at inclusion) {
	if s.stuck {
		return
	}
	s.next = &part{files: files{}}
	path := s.next.files.add(s.name)
	isMain := s == a.main
	if s.next.data = a.data; !isMain || a.data == nil {
		data, err := a.opts.ReadFile(path)
		if isMain && a.opts.MainOptional && errors.Is(err, fs.ErrNotExist) {
			if a.real {
				s.add(&Error{Pos: Position{File: s.name}, Err: errors.New("is gone, with the settings for all mappings"), Hint: "bring it back, or restart dray to go without it"})
				return
			}
			s.next.absent = true
			data, err = []byte("version: 1\n"), nil
		}
		if err != nil {
			s.add(at.unreadable(err, isMain))
			return
		}
		if !isMain && len(data) > maxIncluded {
			s.add(&Error{Pos: Position{File: s.name, Line: 1, Col: 1}, Err: fmt.Errorf("the file is larger than %d MiB", maxIncluded>>20), Hint: "split it"})
			return
		}
		s.next.data = data
	}
	root, err := parseYAML(s.name, s.next.data)
	if err != nil {
		s.add(err)
		return
	}
	w := &walker{report: s.report, file: s.name, expand: a.expander(s), shapes: shapes{}}
	if !isMain {
		w.main = a.main.name
	}
	w.joined = isMain && len(a.opts.With) > 0
	w.value(&s.doc, root, "", "")
}

func (a *attempt) expander(s *source) expander {
	return expander{folder: folderOf(s.name), getenv: a.opts.Getenv, readFile: a.opts.ReadFile, files: s.next.files, noSecrets: a.opts.NoSecrets}
}

// build builds the parts of files that are not stuck. Those that have changed come last, so that it is they who contradict the others.
func (a *attempt) build() {
	order := slices.Clone(a.sources)
	for _, s := range order {
		switch {
		case s.stuck:
		case s.good != nil && bytes.Equal(s.good.data, s.next.data):
			s.order = 1
		default:
			s.order = 2
		}
	}
	slices.SortStableFunc(order, func(a, b *source) int { return cmp.Compare(a.order, b.order) })
	a.each(order, func(s *source, b *builder) { s.keys = b.registryKeys(s.doc.Registries) })
	a.each(order, func(s *source, b *builder) { s.next.registries = b.registries(s.doc.Registries, s.keys) })
	a.each([]*source{a.main}, func(s *source, b *builder) {
		s.next.settings = b.settings(s.name, &s.doc)
		if !s.doc.set {
			s.next.settings.Server = Server{} // nothing is known of it
		}
		s.next.defaults = s.doc.Defaults.options
	})
	c := a.commons
	c.cloud, c.clustered = a.main.next.settings.Azure, a.main.next.settings.Cluster.Ledger != ""
	for _, p := range a.main.next.settings.Policies {
		c.policyNames = append(c.policyNames, p.Name)
	}
	a.lostPolicies()
	a.each(order, func(s *source, b *builder) {
		s.next.receivers = b.receivers(&s.doc.Receivers)
		if s != a.main {
			inherit(&s.doc.Defaults.options, &a.main.next.defaults)
		}
		s.next.mappings = b.mappings(&s.doc)
	})
	a.check(order)
}

// lostPolicies reports a policy that the main file no longer has while a file in its former state names it: that must not go without.
func (a *attempt) lostPolicies() {
	for _, s := range a.sources {
		if !s.stuck || s == a.main || a.main.stuck || s.next == nil {
			continue
		}
		for _, m := range s.next.mappings {
			if m.Verify != "" && m.Verify != NoPolicy && !slices.Contains(a.commons.policyNames, m.Verify) {
				a.main.add(&Error{
					Pos: Position{File: a.main.name, Line: 1, Col: 1}, Key: "verify", Err: fmt.Errorf("lacks the policy %s, which %s names", quote(m.Verify), m.Pos),
					Hint: "change that first",
				})
				return
			}
		}
	}
}

// each calls f for each file that is not stuck, and takes what the others have contributed before as given.
func (a *attempt) each(order []*source, f func(*source, *builder)) {
	for _, s := range order {
		if s.stuck {
			a.commons.take(s.next)
			continue
		}
		in := &inputs{files: s.next.files}
		f(s, &builder{report: s.report, commons: a.commons, folder: folderOf(s.name), files: s.next.files, world: a.opts, inputs: in})
		s.next.globs = append(s.next.globs, in.globs...)
	}
}

// take notes the names of a part; nil for none.
func (c *commons) take(p *part) {
	if p == nil {
		return
	}
	for key, registry := range p.registries {
		c.known[key] = registry
		c.plain[key] = c.plain[key] || registry.PlainHTTP
	}
	for _, r := range p.receivers {
		c.hooks[r.Name] = r.Pos
	}
	for _, m := range p.mappings {
		c.names[m.Name] = m.Pos
	}
}

// check finds mistakes that are in no file alone.
func (a *attempt) check(order []*source) {
	for _, s := range a.sources {
		if len(s.errs) > 0 {
			return
		}
	}
	c := a.config(order)
	if len(c.Mappings) == 0 {
		a.empty = &Error{Pos: Position{File: a.path}, Err: errors.New("no file has a mapping")}
		if all := a.main.next.include; len(all) > 0 {
			a.empty.Pos, a.empty.Key = all[0].text.pos, "include"
		}
		return
	}
	if a.opts.Check == nil {
		return
	}
	errs, _ := errors.AsType[Errors](a.opts.Check(c))
	for _, e := range errs {
		s := a.main
		if i := slices.IndexFunc(a.sources, func(s *source) bool { return s.name == e.Pos.File }); i > 0 {
			s = a.sources[i]
		}
		s.add(e)
	}
}

// firstToBlame leaves out files that may only have mistakes because another cannot be read.
func (a *attempt) firstToBlame(s *source) bool {
	return s.broken || !slices.ContainsFunc(a.sources, func(s *source) bool { return s.broken })
}

// mistakes returns those of some files, by name.
func (a *attempt) mistakes(of func(*source) bool) map[string]Errors {
	found := map[string]Errors{}
	for _, s := range a.sources {
		if len(s.errs) > 0 && of(s) {
			found[s.name] = s.result()
		}
	}
	return found
}

// all returns the mistakes of files in order, and those of none; nil for none.
func (a *attempt) all(found map[string]Errors) Errors {
	var all Errors
	for _, s := range a.sources {
		all = append(all, found[s.name]...)
	}
	all = append(all, a.listing.result()...)
	if a.empty != nil {
		all = append(all, a.empty)
	}
	return limited(all)
}

// vanished reports whether a file that was accepted is no longer there.
func (a *attempt) vanished() bool {
	for name := range a.good {
		if !slices.ContainsFunc(a.sources, func(s *source) bool { return s.name == name }) {
			return true
		}
	}
	return false
}

// patterns returns those of include, in their order, and then those of imagesFrom, each once.
func (a *attempt) patterns() []string {
	all := slices.Clone(a.globs)
	for _, pattern := range a.named.globs {
		if !slices.Contains(all, pattern) {
			all = append(all, pattern)
		}
	}
	return all
}

// config returns the config of files in this order.
func (a *attempt) config(order []*source) *Config {
	c := Config{Path: a.path}
	if p := a.main.next; p != nil && p.settings != nil {
		c = *p.settings
	}
	c.Files, c.Globs, c.Registries, c.Texts = a.named.sorted(), a.patterns(), map[string]Registry{}, map[string][]byte{}
	for _, s := range order {
		if s.next == nil {
			continue
		}
		c.Texts[s.name] = s.next.data
		maps.Copy(c.Registries, s.next.registries)
		c.Receivers = append(c.Receivers, s.next.receivers...)
		if c.Mappings == nil { // of one file there is no need to copy them
			c.Mappings = slices.Clip(s.next.mappings)
		} else {
			c.Mappings = append(c.Mappings, s.next.mappings...)
		}
	}
	return &c
}
