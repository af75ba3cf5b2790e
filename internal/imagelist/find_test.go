package imagelist

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/draysync/dray/internal/image"
)

// truth is what a file of testdata/files names.
type truth struct {
	images []want
	doubts []string
}

type want struct{ text, ref string }

func readTruth(t *testing.T) map[string]*truth {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "truth.txt"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]*truth{}
	var current *truth
	for line := range strings.SplitSeq(string(data), "\n") {
		switch text, is := strings.CutSuffix(line, ":"); {
		case line == "" || line[0] == '#':
		case is && !strings.HasPrefix(line, "?"):
			current = &truth{}
			all[text] = current
		case strings.HasPrefix(line, "? "):
			current.doubts = append(current.doubts, line[2:])
		default:
			written, ref, other := strings.Cut(line, " = ")
			if !other {
				ref = written
			}
			current.images = append(current.images, want{written, ref})
		}
	}
	return all
}

// TestTruth compares what is found in files as people have them with a list that was made by hand: at least 95 of 100 are found, and none is
// invented.
func TestTruth(t *testing.T) {
	all := readTruth(t)
	entries, err := os.ReadDir(filepath.Join("testdata", "files"))
	if err != nil || len(entries) < 40 || len(entries) != len(all) {
		t.Fatalf("%d files, %d in truth.txt, %v", len(entries), len(all), err)
	}
	images, missed, invented, doubts, undoubted, doubted := 0, 0, 0, 0, 0, 0
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join("testdata", "files", e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		found, err := Find(e.Name(), data, nil)
		if err != nil {
			t.Errorf("%s: %v", e.Name(), err)
			continue
		}
		lines := strings.Split(string(data), "\n")
		expected := all[e.Name()]
		images, doubts = images+len(expected.images), doubts+len(expected.doubts)
		left := append([]want{}, expected.images...)
		for _, i := range found.Images {
			if line := lines[i.Line-1]; !strings.Contains(line, i.Text) && !strings.Contains(line, "*") && !strings.Contains(line, ">-") && !strings.HasSuffix(strings.TrimSpace(line), `\`) {
				t.Errorf("%s: %q is not on its line %q", i, i.Text, line)
			}
			at := -1
			for j, w := range left {
				if ref, err := image.ParseImage(w.ref); err == nil && ref == i.Ref {
					at = j
					break
				}
			}
			if at < 0 {
				invented++
				t.Errorf("%s: %s is invented", i.Place, i.Ref)
				continue
			}
			left = append(left[:at], left[at+1:]...)
		}
		for _, w := range left {
			missed++
			t.Logf("%s: %s is missed", e.Name(), w.text)
		}
		unsaid := append([]string{}, expected.doubts...)
		for _, d := range found.Doubts {
			at := -1
			for j, part := range unsaid {
				if strings.Contains(lines[d.Line-1], part) {
					at = j
					break
				}
			}
			if at < 0 {
				doubted++
				t.Logf("%s: %q is doubted (%s)", d.Place, d.Text, d.Why)
				continue
			}
			unsaid = append(unsaid[:at], unsaid[at+1:]...)
		}
		for _, part := range unsaid {
			undoubted++
			t.Logf("%s: %s is not doubted", e.Name(), part)
		}
	}
	t.Logf("%d files: %d of %d images found, %d invented; %d of %d doubts, and %d others", len(entries), images-missed, images, invented, doubts-undoubted, doubts, doubted)
	if missed*20 > images || undoubted*20 > doubts || doubted*20 > doubts {
		t.Errorf("missed %d of %d images and %d of %d doubts, and doubted %d others", missed, images, undoubted, doubts, doubted)
	}
}

// TestHereDocuments: what follows a here-document is found, and so it is after what only looks like one.
func TestHereDocuments(t *testing.T) {
	for _, run := range []string{
		"RUN <<EOF\nFROM no:1\nEOF", "RUN python3 3<<-'EOF' && true\n\tFROM no:1\n\tEOF", "COPY <<a <<b /etc/\nFROM no:1\na\nFROM no:1\nb", "RUN <<END-1\nFROM no:1\nEND-1",
		`RUN chpasswd <<<"root:root"`, "RUN read x <<<word", "RUN echo $((1<<SHIFT))", `RUN echo "see <<EOF here"`, "RUN true <<EOF \\",
	} {
		found, err := Find("Dockerfile", []byte("FROM one:1\n"+run+"\nFROM two:2\n"), nil)
		if last := strings.HasSuffix(run, `\`); err != nil || len(found.Images) != 2 && !last {
			t.Errorf("%s: %v, %v", run, found.Images, err)
		}
	}
}
