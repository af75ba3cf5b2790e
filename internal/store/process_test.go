package store

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/postgrestest"
)

// childDir is the environment variable that makes the test binary a child: it writes to the store in that directory.
const childDir = "DRAY_STORE_TEST_DIR"

func TestMain(m *testing.M) {
	defer postgrestest.Stop()
	if dir := os.Getenv(childDir); dir != "" {
		if err := child(dir, os.Args[1:]); err != nil {
			panic(err)
		}
		return
	}
	m.Run()
}

// child does what its first argument says, which is else a name: then it writes the batches from..to of it. It says each number
// once that is committed.
func child(dir string, args []string) error {
	ctx := context.Background()
	switch args[0] {
	case "worker":
		return worker(ctx, dir, args[1])
	case "runs":
		return runsChild(ctx, dir, args[1])
	case "migrations":
		return migrationsChild(ctx, dir)
	}
	s, err := Open(ctx, dir, Options{Now: time.Now})
	if err != nil {
		return err
	}
	from, _ := strconv.Atoi(args[1])
	to, _ := strconv.Atoi(args[2])
	for i := from; i < to; i++ {
		if err := s.AddBlobs(ctx, repo(args[0]), digests(10*i, 10*i+10), true); err != nil {
			return err
		}
		if err := s.PutManifest(ctx, manifest(i, 2000)); err != nil {
			return err
		}
		if _, err := fmt.Println(i); err != nil {
			return err
		}
	}
	return s.Close()
}

func command(t *testing.T, dir, name string, from, to int) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	c := exec.CommandContext(t.Context(), self, name, strconv.Itoa(from), strconv.Itoa(to))
	c.Env = append(os.Environ(), childDir+"="+dir)
	c.Stderr = os.Stderr
	return c
}

func TestTwoStores(t *testing.T) {
	d := newStand(t)
	a, b := d.open(t), d.open(t)
	var group sync.WaitGroup
	for i := range 8 {
		s := []*Store{a, b}[i%2]
		group.Go(func() {
			for n := range 50 {
				if err := s.AddBlobs(t.Context(), repo(fmt.Sprint("r", i)), digests(n, n+3), true); err != nil {
					t.Error(err)
				}
				if _, err := s.BlobHolders(t.Context(), repo("").Registry, digest(n)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	for i := range 8 {
		for _, s := range []*Store{a, b} {
			if got := held(t, s, repo(fmt.Sprint("r", i)), digests(0, 100)...); got != 52 {
				t.Errorf("r%d: %d", i, got)
			}
		}
	}
}

func TestReadersNeverWait(t *testing.T) {
	d := newStand(t)
	a, b := d.open(t), d.open(t)
	must(t, a.PutManifest(t.Context(), manifest(1, 10)))
	d.pass(48 * time.Hour) // so that reading has something to note
	tx, err := a.begin(t.Context())
	must(t, err)
	defer func() { _ = tx.Rollback() }()
	_, err = tx.Exec("UPDATE manifests SET media_type = 'x'")
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, s := range []*Store{a, b} {
		if m, ok, err := s.Manifest(ctx, manifest(1, 10).Digest); !ok || err != nil || m.MediaType == "x" {
			t.Error(m.MediaType, ok, err)
		}
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := b.begin(short); err == nil {
		t.Fatal("two write at once")
	}
	must(t, tx.Commit())
	must(t, b.PutManifest(t.Context(), manifest(2, 10)))
}

func TestProcesses(t *testing.T) {
	const batches = 40
	d := newStand(t)
	var group sync.WaitGroup
	for i := range 4 {
		c := command(t, d.dir, fmt.Sprint("p", i), 0, batches)
		group.Go(func() {
			if err := c.Run(); err != nil {
				t.Error(err)
			}
		})
	}
	s := d.open(t)
	for n := range batches { // writes between them
		must(t, s.AddBlobs(t.Context(), repo("parent"), digests(n, n+1), true))
	}
	group.Wait()
	for i := range 4 {
		if got := held(t, s, repo(fmt.Sprint("p", i)), digests(0, 10*batches)...); got != 10*batches {
			t.Errorf("process %d: %d blobs", i, got)
		}
	}
	if held(t, s, repo("parent"), digests(0, batches)...) != batches || names(t, d.dir) != nil {
		t.Error("the parent's blobs are gone")
	}
}

func TestKilled(t *testing.T) {
	fulltest.Long(t)
	const kills = 20
	d := newStand(t)
	confirmed := map[int]int{} // by child, the batches that it has confirmed
	for k := range kills {
		c := command(t, d.dir, fmt.Sprint("k", k), 0, 1_000_000)
		out, err := c.StdoutPipe()
		must(t, err)
		must(t, c.Start())
		lines := bufio.NewScanner(out)
		for confirmed[k] < 3+7*k%25 && lines.Scan() {
			confirmed[k]++
		}
		must(t, c.Process.Kill())
		for lines.Scan() { // what it has said before it died counts too
			confirmed[k]++
		}
		_, _ = io.Copy(io.Discard, out)
		_ = c.Wait()
		s := d.open(t)
		check(t, s, confirmed)
		must(t, s.Close())
	}
	if names(t, d.dir) != nil || d.log.Len() > 0 {
		t.Error(names(t, d.dir), d.log.String())
	}
	must(t, writeEmpty(filepath.Join(d.dir, fileName+damagedSuffix)))
	check(t, d.open(t), confirmed) // has looked through the whole file
}

// check looks for what was confirmed, and that the batch that was under way is there whole or not at all.
func check(t *testing.T, s *Store, confirmed map[int]int) {
	t.Helper()
	for k, n := range confirmed {
		r := repo(fmt.Sprint("k", k))
		if got := held(t, s, r, digests(0, 10*n)...); got != 10*n || n == 0 {
			t.Fatalf("child %d: %d blobs, confirmed were %d", k, got, 10*n)
		}
		if got := held(t, s, r, digests(10*n, 10*n+20)...); got%10 != 0 {
			t.Fatalf("child %d: %d blobs of a batch", k, got)
		}
		if m, ok, err := s.Manifest(t.Context(), manifest(n-1, 2000).Digest); !ok || err != nil || image.DigestOf(m.Raw, "") != m.Digest {
			t.Fatalf("child %d: manifest %d: %v %v", k, n-1, ok, err)
		}
	}
}

// TestOpenAndClose has stores come and go, so that one is often the last to close while another opens.
func TestOpenAndClose(t *testing.T) {
	fulltest.Long(t)
	d := newStand(t)
	var group sync.WaitGroup
	for i := range 4 {
		group.Go(func() {
			for n := range 15 {
				s, err := Open(t.Context(), d.dir, Options{Now: d.Now})
				if err != nil {
					t.Error(err)
					return
				}
				if err := s.AddBlobs(t.Context(), repo(fmt.Sprint("r", i)), digests(n, n+1), true); err != nil {
					t.Error(err)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	s := d.open(t)
	for i := range 4 {
		if got := held(t, s, repo(fmt.Sprint("r", i)), digests(0, 15)...); got != 15 {
			t.Errorf("r%d: %d", i, got)
		}
	}
}
