package watch

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestPeek(t *testing.T) {
	root := tree(t, "folder")
	at := func(name string) string { return filepath.Join(root, name) }
	big := make([]byte, maxRead+1)
	must(t, write(at("text"), "text"), write(at("same"), "text"), write(at("other"), "texT"), write(at("empty"), ""),
		os.WriteFile(at("big"), big, 0o600), os.Symlink("text", at("symlink")), os.Symlink("none", at("nowhere")),
		os.Symlink("loop", at("loop")), syscall.Mkfifo(at("pipe"), 0o600))
	big[maxRead] = 1
	must(t, os.WriteFile(at("bigger"), big, 0o600))
	big[maxRead-1] = 1
	must(t, os.WriteFile(at("differs"), big, 0o600))
	tests := []struct {
		one, other string
		same       bool
	}{
		{"text", "text", true},
		{"text", "same", true},
		{"text", "symlink", true},
		{"text", "other", false},
		{"text", "empty", false},
		{"empty", "none", false},
		{"empty", "folder", false},
		{"none", "nowhere", true},
		{"none", "folder", false},
		{"none", "loop", false},
		{"folder", "pipe", true},
		{"big", "bigger", true}, // it ends before they differ
		{"big", "differs", false},
	}
	for _, tt := range tests {
		t.Run(tt.one+" "+tt.other, func(t *testing.T) {
			if same := peek(at(tt.one)) == peek(at(tt.other)); same != tt.same {
				t.Errorf("same is %v", same)
			}
		})
	}
}

// TestReadFile has what it returns, and that the same counts as known.
func TestReadFile(t *testing.T) {
	root := tree(t, "folder")
	at := func(name string) string { return filepath.Join(root, name) }
	must(t, write(at("text"), "text"), write(at("empty"), ""), os.WriteFile(at("big"), make([]byte, maxRead+1), 0o600),
		syscall.Mkfifo(at("pipe"), 0o600))
	tests := map[string]struct {
		length int
		err    string
	}{
		"text":   {length: 4},
		"empty":  {},
		"big":    {length: maxRead},
		"none":   {err: "no such file or directory"},
		"folder": {err: "is a directory"},
		"pipe":   {err: "not a regular file"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := New(Options{})
			data, err := w.ReadFile(at(name))
			if len(data) != tt.length {
				t.Errorf("%d bytes", len(data))
			}
			if e, ok := errors.AsType[*fs.PathError](err); ok != (tt.err != "") || ok && e.Err.Error() != tt.err {
				t.Errorf("got the error %v", err)
			}
			if w.differs() || len(w.files()) != 1 {
				t.Errorf("what was read is not what is known of %q", w.files())
			}
		})
	}
}
