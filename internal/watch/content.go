package watch

import (
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"

	"github.com/draysync/dray/internal/file"
)

// maxRead is how much of a file is compared, in bytes: more than dray reads of any config or secret.
const maxRead = 17 << 20

// content is the state of a file; == tells whether two are the same.
type content struct {
	state state
	sum   [sha256.Size]byte
}

type state byte

const (
	missing state = iota
	unreadable
	readable
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
