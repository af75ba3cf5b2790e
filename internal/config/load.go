package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/draysync/dray/internal/file"
	"github.com/draysync/dray/internal/signature"
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
	// List returns the regular files and others that a pattern of [Config.Globs] matches, sorted; nil for the file system.
	List func(pattern string) ([]string, error)
	// Check finds mistakes of a whole config that no file shows by itself; its error is of the type [Errors], each with the position of the
	// latter of two that contradict each other. It is called again without the files that have mistakes. nil for none.
	Check func(*Config) error
	// Root reads the trusted root of keyless signatures; nil where a config has none.
	Root func(text []byte) (signature.Root, error)
	// With are files that belong to the config besides those that the main file includes, and patterns of such; see [Locate].
	With []string
	// MainOptional is set if the main file need not be there; it is then like one without settings.
	MainOptional bool
	// NoSecrets reads no variables, and no files but those of the config. A placeholder replaces each, and values that depend on one are never
	// reported as mistakes.
	NoSecrets bool
}

// mainName is the name of a folder's main file.
const mainName = "dray.yaml"

// Locate returns the main file of a config that paths name, at least one, and opts for it. The first path is the main file, and the others are
// like entries of its include. A folder stands for its files *.yaml and *.yml, of which dray.yaml is the main file if the folder is the first
// path.
func Locate(paths []string, opts Options) (main string, _ Options) {
	for i, path := range paths {
		info, err := os.Stat(path)
		folder := err == nil && info.IsDir()
		switch {
		case i == 0 && folder:
			main, opts.MainOptional = filepath.Join(path, mainName), true
		case i == 0:
			main = path
		}
		switch {
		case folder:
			opts.With = append(opts.With, filepath.Join(path, "*.y*ml")) // which nothing else matches
		case i > 0:
			opts.With = append(opts.With, path)
		}
	}
	return main, opts
}

// Load reads a config: a file and those that it includes. The error is of the type [Errors] and holds every mistake. Even then the config has
// Path, Files and Globs, since a caller that waits for fixes has to watch these, and Server if that has no mistakes, since a daemon that runs
// the previous config may listen there.
func Load(path string, opts Options) (*Config, error) {
	return NewReader(path, opts).strictly()
}

// Parse is like [Load], for content of the main file that has been read. Relative paths in it are relative to the directory of the name.
func Parse(name string, data []byte, opts Options) (*Config, error) {
	r := NewReader(name, opts)
	r.data = data
	return r.strictly()
}

// withoutContent returns what is known of a config with mistakes.
func (c *Config) withoutContent() *Config {
	broken := &Config{Path: c.Path, Files: c.Files, Globs: c.Globs}
	if checkListen(c.Server.Listen) == nil {
		broken.Server = c.Server
	}
	return broken
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
		return "write it, such as with dray init, or name another one with --config"
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
