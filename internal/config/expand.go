package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/draysync/dray/internal/file"
	"github.com/draysync/dray/internal/signature"
)

// maxExpanded limits an expanded value, in bytes.
const maxExpanded = 1 << 20

// expander replaces ${env:NAME} and ${file:PATH} in texts.
type expander struct {
	folder   string
	getenv   func(string) (string, bool)
	readFile func(string) ([]byte, error)
	files    files
	// noSecrets replaces each reference by a placeholder made of its name.
	noSecrets bool
}

// text returns s with its references replaced. It does not expand the inserted values again. Errors show names only.
func (e expander) text(s string) (string, error) {
	var b strings.Builder
	rest := s
	for {
		i := strings.Index(rest, "${")
		if i < 0 {
			b.WriteString(rest)
			return b.String(), nil
		}
		if i > 0 && rest[i-1] == '$' {
			b.WriteString(rest[:i-1] + "${")
			rest = rest[i+2:]
			continue
		}
		b.WriteString(rest[:i])
		inner, after, closed := strings.Cut(rest[i+2:], "}")
		if !closed {
			return "", fmt.Errorf("%s has a ${ without its }: write ${env:NAME} or ${file:PATH}, or $${ for the characters ${ themselves", quote(s))
		}
		value, err := e.reference(inner)
		if err != nil {
			return "", err
		}
		if b.WriteString(value); b.Len() > maxExpanded {
			return "", fmt.Errorf("%s expands to more than %d bytes", quote(s), maxExpanded)
		}
		rest = after
	}
}

func (e expander) reference(inner string) (string, error) {
	kind, name, _ := strings.Cut(inner, ":")
	_, inDirectory := credential(name)
	switch {
	case e.noSecrets && (kind == "env" || kind == "file") && name != "" && (kind == "file" && inDirectory || !strings.Contains(name, "$")):
		return placeholder(name), nil
	case kind == "env" && name != "" && !strings.Contains(name, "$"):
		value, ok := e.getenv(name)
		if !ok {
			return "", fmt.Errorf("the environment variable %s is not set", quote(name))
		}
		return value, nil
	case kind == "file" && name != "" && (inDirectory || !strings.Contains(name, "$")):
		return e.content(name)
	}
	return "", fmt.Errorf("%s is not known: write ${env:NAME} or ${file:PATH}, or $${ for the characters ${ themselves", quote("${"+inner+"}"))
}

// placeholder returns a value for a variable or file that is not read: its name, in a form that an image reference can contain.
func placeholder(name string) string {
	words := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') })
	return strings.Join(append([]string{"value"}, words...), "-")
}

// content returns the content of a file, without the line break at its end and the byte order mark that Windows puts before it.
func (e expander) content(name string) (string, error) {
	path, err := e.locate(name)
	if err != nil {
		return "", err
	}
	data, err := e.readFile(e.files.add(path))
	if err != nil {
		return "", fmt.Errorf("the file %s cannot be read: %w", quote(name), reason(err))
	}
	if len(data) > maxExpanded {
		return "", fmt.Errorf("the file %s is larger than %d bytes", quote(name), maxExpanded)
	}
	if bytes.IndexByte(data, 0) >= 0 { // UTF-16, or not all written
		return "", fmt.Errorf("the file %s has a zero byte, which is in no text; save it as UTF-8", quote(name))
	}
	value, broken := strings.CutSuffix(strings.TrimPrefix(string(data), "\ufeff"), "\n")
	if broken {
		value = strings.TrimSuffix(value, "\r")
	}
	return value, nil
}

// credentialsDirectory is the variable with the directory in which systemd puts a unit's credentials (LoadCredential= and SetCredential=).
// The path differs from unit to unit and is known only to the running service.
const credentialsDirectory = "CREDENTIALS_DIRECTORY"

// credential returns the name of a file in the credentials directory: the rest of a path after that variable, the only one allowed in a path.
func credential(path string) (name string, ok bool) {
	name, ok = strings.CutPrefix(path, "$"+credentialsDirectory+"/")
	return name, ok && name != "" && !strings.Contains(name, "$")
}

func (e expander) locate(path string) (string, error) {
	if name, ok := credential(path); ok {
		directory, _ := e.getenv(credentialsDirectory)
		if !filepath.IsAbs(directory) {
			return "", fmt.Errorf("the file %s is nowhere, as $%s is not set: systemd sets it for a service with LoadCredential=", quote(path), credentialsDirectory)
		}
		return filepath.Join(directory, name), nil
	}
	if filepath.IsAbs(path) {
		return path, nil
	}
	return filepath.Join(e.folder, path), nil
}

// reason removes the path from an error, for a message that already has it.
func reason(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

// lookup returns an expander that uses the options' functions for variables and files.
func (o Options) lookup() Options {
	if o.Getenv == nil {
		o.Getenv = os.LookupEnv
	}
	if o.Root == nil {
		o.Root = func([]byte) (signature.Root, error) { return nil, errors.New("is not read here") }
	}
	if o.ReadFile == nil {
		o.ReadFile = readBounded
	}
	if o.List == nil {
		o.List = file.List
	}
	return o
}
