package file

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestRead(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, err := range []error{
		os.WriteFile(at("file"), []byte("text"), 0o600), os.Mkdir(at("folder"), 0o700), syscall.Mkfifo(at("pipe"), 0o600),
		os.Symlink("file", at("link")), os.Symlink("pipe", at("link to a pipe")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, tt := range map[string]struct {
		limit int64
		says  string // empty where it is read
	}{
		"file": {4, ""}, "link": {4, ""}, "folder": {4, "is a directory"}, "pipe": {4, "not a regular file"}, "link to a pipe": {4, "not a regular file"},
		"nothing": {4, "no such file"},
	} {
		got, err := Read(at(name), tt.limit)
		if tt.says == "" && (err != nil || string(got) != "text") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), name)) {
			t.Errorf("%s: the error is %v, want %q", name, err, tt.says)
		}
	}
	if got, err := Read(at("file"), 3); err == nil || !strings.Contains(err.Error(), "larger than 3 bytes") {
		t.Errorf("%q, %v", got, err)
	}
	for text, want := range map[string]string{"text": "text", "\ufefftext\r\n": "text\r\n", "\ufeff\ufeff": "\ufeff", "": ""} {
		if err := os.WriteFile(at("file"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadText(at("file"), 10); err != nil || string(got) != want {
			t.Errorf("%q is read as %q, %v", text, got, err)
		}
	}
	if err := os.WriteFile(at("file"), []byte("\xff\xfet\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadText(at("file"), 10); err == nil || !strings.Contains(err.Error(), "UTF-16") || !strings.Contains(err.Error(), at("file")) {
		t.Errorf("UTF-16: %q, %v", got, err)
	}
	if _, err := Open("/dev/null"); err == nil {
		t.Error("a device was opened")
	}
}
