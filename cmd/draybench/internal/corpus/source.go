package corpus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/draysync/dray/cmd/draybench/internal/server"
)

// contentFile lies beside a storage and says what is in it. It is written last: a folder without it is not whole.
const contentFile = "content.json"

// Fill makes sure that a storage of the shape lies below dir, and returns its folder. It is filled through a registry the
// first time, in another folder until it is whole, and only read after.
func (s Shape) Fill(ctx context.Context, kind server.Kind, dir string) (folder string, err error) {
	folder = filepath.Join(dir, fmt.Sprintf("source-%s-%d", s.Name, s.Version))
	if _, err := readContent(folder); err == nil {
		return folder, nil
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", fmt.Errorf("fill %s: %w", s.Name, err)
	}
	work, err := os.MkdirTemp(dir, "filling-")
	if err != nil {
		return "", fmt.Errorf("fill %s: %w", s.Name, err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	if err := s.fill(ctx, kind, work); err != nil {
		return "", fmt.Errorf("fill %s: %w", s.Name, err)
	}
	if err := os.RemoveAll(folder); err != nil {
		return "", fmt.Errorf("fill %s: %w", s.Name, err)
	}
	if err := os.Rename(work, folder); err != nil {
		return "", fmt.Errorf("fill %s: %w", s.Name, err)
	}
	return folder, nil
}

func (s Shape) fill(ctx context.Context, kind server.Kind, dir string) error {
	registry, err := server.Start(ctx, kind, dir)
	if err != nil {
		return err
	}
	defer registry.Stop()
	pushes, ctx := errgroup.WithContext(ctx)
	pushes.SetLimit(8)
	if s.OwnLayer > 10_000_000 {
		pushes.SetLimit(1) // each push has its image in memory
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	defer client.CloseIdleConnections()
	content, err := s.build(func(p placed) error {
		pushes.Go(func() error { return p.image.PushTo(ctx, client, registry.URL, p.repository, p.tag) })
		return ctx.Err()
	})
	if err := errors.Join(pushes.Wait(), err); err != nil {
		return err
	}
	text, err := json.Marshal(content)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, contentFile), text, 0o600)
}

func readContent(folder string) (Content, error) {
	var content Content
	text, err := os.ReadFile(filepath.Join(folder, contentFile))
	if err != nil {
		return content, err
	}
	return content, json.Unmarshal(text, &content)
}

// Source is a registry with the content of a filled storage. It shares the storage's blobs, which it never changes, and
// has everything else as its own, so that its tags can move.
type Source struct {
	server.Server
	Content Content

	dir string
}

// Open starts a registry over a folder that Fill made. It needs Close.
func Open(ctx context.Context, kind server.Kind, folder string) (*Source, error) {
	content, err := readContent(folder)
	if err != nil {
		return nil, fmt.Errorf("open source: %w", err)
	}
	dir, err := os.MkdirTemp(filepath.Dir(folder), "open-")
	if err != nil {
		return nil, fmt.Errorf("open source: %w", err)
	}
	s := &Source{Content: content, dir: dir}
	if err := s.link(folder); err != nil {
		return nil, errors.Join(fmt.Errorf("open source: %w", err), os.RemoveAll(dir))
	}
	if s.Server, err = server.Start(ctx, kind, dir); err != nil {
		return nil, errors.Join(fmt.Errorf("open source: %w", err), os.RemoveAll(dir))
	}
	return s, nil
}

// Close stops the registry and removes what was its own.
func (s *Source) Close() error {
	s.Stop()
	return os.RemoveAll(s.dir)
}

// storage is where the distribution project's registries keep everything, below their root.
func storage(dir string) string { return filepath.Join(dir, "data", "docker", "registry", "v2") }

// link lets the storage of the source have the blobs of a folder and a copy of its repositories. It reads every blob once:
// what a disk is like is not what is measured.
func (s *Source) link(folder string) error {
	from, err := filepath.Abs(storage(folder))
	if err != nil {
		return err
	}
	to := storage(s.dir)
	if err := os.MkdirAll(to, 0o750); err != nil {
		return err
	}
	blobs := filepath.Join(from, "blobs")
	if err := os.Symlink(blobs, filepath.Join(to, "blobs")); err != nil {
		return err
	}
	if err := os.CopyFS(filepath.Join(to, "repositories"), os.DirFS(filepath.Join(from, "repositories"))); err != nil {
		return err
	}
	return filepath.WalkDir(blobs, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }()
		_, err = io.Copy(io.Discard, file)
		return err
	})
}

// Move moves the tag of Content.Rebuilt to the rebuilt image, and Restore moves it back.
func (s *Source) Move(ctx context.Context) error {
	return s.retag(ctx, RebuiltTag)
}

// Restore undoes Move.
func (s *Source) Restore(ctx context.Context) error {
	for _, repository := range s.Content.Repositories {
		for _, tag := range repository.Tags {
			if repository.Path == s.Content.Rebuilt.Repository && tag.Name == s.Content.Rebuilt.Tag {
				return s.retag(ctx, tag.Digest)
			}
		}
	}
	return fmt.Errorf("restore: there is no %s:%s", s.Content.Rebuilt.Repository, s.Content.Rebuilt.Tag)
}

// retag lets the tag of Content.Rebuilt lead to a manifest of the same repository.
func (s *Source) retag(ctx context.Context, reference string) error {
	base := s.URL + "/v2/" + s.Content.Rebuilt.Repository + "/manifests/"
	manifest, err := s.do(ctx, http.MethodGet, base+reference, nil, http.StatusOK)
	if err != nil {
		return fmt.Errorf("move a tag: %w", err)
	}
	if _, err := s.do(ctx, http.MethodPut, base+s.Content.Rebuilt.Tag, manifest, http.StatusCreated); err != nil {
		return fmt.Errorf("move a tag: %w", err)
	}
	return nil
}

// do sends a request about the manifest of the rebuilt image, or of the one that it replaces.
func (s *Source) do(ctx context.Context, method, url string, body []byte, want int) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", s.Content.Rebuilt.MediaType)
	request.Header.Set("Content-Type", s.Content.Rebuilt.MediaType)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != want {
		return nil, fmt.Errorf("%s: %s: %s", url, response.Status, answer)
	}
	return answer, nil
}
