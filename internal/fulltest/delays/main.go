// Command delays finds tests, and what they test, that fail by chance since one goroutine or process is late relative to another. It copies the
// module's files into a folder, with a call at the beginning of each function that sleeps now and then, and writes a file for the flag -overlay:
//
//	go run ./internal/fulltest/delays /tmp/delays
//	go test -overlay /tmp/delays/overlay.json -ldflags=-checklinkname=0 -vet=off -count=20 -run TestKilledDaemon ./cmd/dray
//
// In each process one function of 60 sleeps, for up to 0.4 s. None does in a bubble of testing/synctest.
package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const delayPackage = "internal/fulltest/delay"

//go:embed delay.txt
var delaySource []byte

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage, in the module's folder: go run ./internal/fulltest/delays FOLDER")
	}
	if err := overlay(os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

// overlay writes copies of the module's files in the working directory to a folder, and overlay.json, which has go build read them instead.
func overlay(to string) error {
	root, err := os.Getwd()
	if err == nil {
		to, err = filepath.Abs(to)
	}
	if err == nil {
		err = os.MkdirAll(to, 0o700)
	}
	if err != nil {
		return err
	}
	replaced := map[string]string{}
	write := func(path string, text []byte) error {
		replaced[path] = filepath.Join(to, strconv.Itoa(len(replaced))+"-"+filepath.Base(path))
		return os.WriteFile(replaced[path], text, 0o600)
	}
	if err := write(filepath.Join(root, delayPackage, "delay.go"), delaySource); err != nil {
		return err
	}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return skipped(root, path)
		case filepath.Ext(path) != ".go":
			return nil
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		text, err := delayed(path, source)
		if err != nil || text == nil {
			return err
		}
		return write(path, text)
	})
	if err != nil {
		return err
	}
	text, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(to, "overlay.json"), text, 0o600)
}

// skipped returns [fs.SkipDir] for a folder that is not of the module in root.
func skipped(root, dir string) error {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	name := filepath.Base(dir)
	if dir != root && (err == nil || name == "testdata" || strings.HasPrefix(name, ".")) {
		return fs.SkipDir
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// delayed returns a file whose functions sleep; nil if it has none.
func delayed(path string, source []byte) ([]byte, error) {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, source, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var at []int
	ast.Inspect(file, func(n ast.Node) bool {
		var body *ast.BlockStmt
		switch n := n.(type) {
		case *ast.FuncDecl:
			body = n.Body
		case *ast.FuncLit:
			body = n.Body
		}
		if body != nil && len(body.List) > 0 {
			at = append(at, files.Position(body.Lbrace).Offset+1)
		}
		return true
	})
	if len(at) == 0 {
		return nil, nil
	}
	slices.Sort(at)
	name := "delayed_" + strings.NewReplacer(".", "_", "-", "_").Replace(filepath.Base(path))
	var text bytes.Buffer
	written := files.Position(file.Name.End()).Offset
	fmt.Fprintf(&text, "%s; import delay_ %q", source[:written], "github.com/draysync/dray/"+delayPackage)
	for i, offset := range at {
		fmt.Fprintf(&text, "%s %s[%d].Begin();", source[written:offset], name, i)
		written = offset
	}
	fmt.Fprintf(&text, "%s\nvar %s [%d]delay_.Function\n", source[written:], name, len(at))
	return text.Bytes(), nil
}
