package watch

import (
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"strings"

	"github.com/draysync/dray/internal/file"
)

// maxRead is how much of a file is compared, in bytes: more than dray reads of any config or secret.
const maxRead = 17 << 20

// content is the state of a file, or of what a pattern matches; == tells whether two are the same.
type content struct {
	state state
	sum   [sha256.Size]byte
}

type state byte

const (
	missing state = iota
	unreadable
	readable
	// listed and unlisted are the states of a pattern.
	listed
	unlisted
)

// peek keeps only the checksum.
func peek(path string) content {
	hash := sha256.New()
	if err := copyFile(hash, path); err != nil {
		return failed(err)
	}
	c := content{state: readable}
	hash.Sum(c.sum[:0])
	return c
}

// again returns the present content of what had this one.
func (c content) again(path string) content {
	if c.state == listed || c.state == unlisted {
		return peekList(path)
	}
	return peek(path)
}

func peekList(pattern string) content { return contentOfList(file.List(pattern)) }

func contentOfList(paths []string, err error) content {
	if err != nil {
		return content{state: unlisted}
	}
	return content{state: listed, sum: sha256.Sum256([]byte(strings.Join(paths, "\x00")))}
}

func failed(err error) content {
	if errors.Is(err, fs.ErrNotExist) {
		return content{state: missing}
	}
	return content{state: unreadable}
}

func copyFile(to io.Writer, path string) error {
	f, err := file.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(to, io.LimitReader(f, maxRead))
	return err
}
