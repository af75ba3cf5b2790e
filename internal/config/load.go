package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"reflect"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/draysync/dray/internal/file"
)

// MaxFile is the size limit of a config file, in bytes: tens of thousands of mappings.
const MaxFile = 16 << 20

// Options say how to read values from outside the file.
type Options struct {
	// Getenv looks up a variable; nil for the environment of the process.
	Getenv func(string) (string, bool)
	// ReadFile reads the config file and the files that it refers to, by the absolute paths of [Config.Files]; nil for the file system,
	// from which Load reads at most 16 MiB and a byte of each.
	ReadFile func(string) ([]byte, error)
	// NoSecrets reads no variables, and no files but the config file. A placeholder replaces each, and values that depend on one are never
	// reported as mistakes.
	NoSecrets bool
}

// Load reads a file. The error is of the type [Errors] and holds every mistake. Even then the config has Path and Files, since a caller that
// waits for fixes has to watch these files, and Server if that has no mistakes, since a daemon that runs the previous config may listen there.
func Load(path string, opts Options) (*Config, error) {
	opts = opts.lookup()
	named := files{}
	data, err := opts.ReadFile(named.add(path))
	if err != nil {
		mistake := &Error{Pos: Position{File: path}, Err: unreadable(err), Hint: hintUnreadable(err)}
		return &Config{Path: path, Files: named.sorted()}, Errors{mistake}
	}
	return Parse(path, data, opts)
}

// Parse is like [Load], for content that has been read. Relative paths in it are relative to the directory of the name.
func Parse(name string, data []byte, opts Options) (*Config, error) {
	named, errs := files{}, &report{}
	named.add(name)
	cfg := parse(name, data, opts.lookup(), named, errs)
	if all := errs.result(); all != nil {
		broken := &Config{Path: name, Files: named.sorted()}
		if cfg != nil && checkListen(cfg.Server.Listen) == nil {
			broken.Server = cfg.Server
		}
		return broken, all
	}
	cfg.Files = named.sorted()
	return cfg, nil
}

// parse records the files that the content names, and its mistakes. If there are mistakes, its result is meaningless.
func parse(name string, data []byte, opts Options, named files, errs *report) *Config {
	root, err := parseYAML(name, data)
	if err != nil {
		errs.add(err)
		return nil
	}
	folder := filepath.Dir(name)
	expand := expander{folder: folder, getenv: opts.Getenv, readFile: opts.ReadFile, files: named, noSecrets: opts.NoSecrets}
	w := &walker{report: errs, file: name, expand: expand, shapes: shapes{}}
	var doc document
	w.value(&doc, root, "", "")
	b := &builder{report: errs, folder: folder, files: named}
	return b.config(name, &doc)
}

// readBounded reads a regular file, up to a little more than the size limit.
func readBounded(path string) ([]byte, error) {
	f, err := file.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	return io.ReadAll(io.LimitReader(f, MaxFile+1))
}

func unreadable(err error) error {
	return fmt.Errorf("cannot be read: %w", reason(err))
}

func hintUnreadable(err error) string {
	if errors.Is(err, fs.ErrNotExist) {
		return "write it, or name another one with --config"
	}
	return ""
}

// parseYAML returns the node of the one mapping that a file holds.
func parseYAML(name string, data []byte) (*yaml.Node, *Error) {
	if err := checkText(name, data); err != nil {
		return nil, err
	}
	read, restore := plainQuestions(data)
	dec := yaml.NewDecoder(bytes.NewReader(read))
	var doc, next yaml.Node
	switch err := decodeNode(dec, &doc); {
	case errors.Is(err, io.EOF):
		return nil, emptyFile(name)
	case err != nil:
		return nil, syntaxError(name, data, err)
	}
	if err := decodeNode(dec, &next); !errors.Is(err, io.EOF) {
		if err != nil {
			return nil, syntaxError(name, data, err)
		}
		pos := Position{File: name, Line: max(next.Line, 1), Col: max(next.Column, 1)}
		return nil, &Error{Pos: pos, Err: errors.New("a second YAML document starts here"), Hint: "put everything into one, without a line \"---\" in between"}
	}
	restore(&doc)
	root := doc.Content[0]
	pos := Position{File: name, Line: max(root.Line, 1), Col: max(root.Column, 1)}
	switch {
	case root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null":
		return nil, emptyFile(name)
	case root.Kind != yaml.MappingNode:
		return nil, &Error{Pos: pos, Err: fmt.Errorf("the file must be a mapping with %s (got %s)", strings.Join(keysOf(reflect.TypeFor[document]()), ", "), describe(root))}
	}
	return root, checkAliases(name, root)
}

func emptyFile(name string) *Error {
	return &Error{Pos: Position{File: name, Line: 1, Col: 1}, Err: errors.New("the file is empty"), Hint: "write at least version and mappings"}
}

// decodeNode is dec.Decode, with its panics on unexpected input turned into errors.
func decodeNode(dec *yaml.Decoder, n *yaml.Node) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("yaml: the parser gave up: %v", p)
		}
	}()
	return dec.Decode(n)
}
