package serve

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"

	"golang.org/x/crypto/bcrypt"

	"github.com/draysync/dray/internal/file"
	"github.com/draysync/dray/internal/flight"
)

// Users are names and hashes of passwords in a file as htpasswd -B writes it. It is read for each request. While it cannot be used, the last
// one that could be stays in effect.
type Users struct {
	path string
	warn func(path string, err error)
	// salt keeps what was proven from being compared with hashes made elsewhere.
	salt []byte
	// turns are taken by those that compute a hash, which takes a processor for tens of milliseconds.
	turns   chan struct{}
	proving flight.Group[bool]

	mu         sync.Mutex
	raw        []byte
	hashes     map[string][]byte
	proven     map[[sha256.Size]byte]bool
	lastFailed error
}

// LoadUsers reads a file of users. Warn is told when a change of the file cannot be used, and of each reason once.
func LoadUsers(path string, warn func(path string, err error)) (*Users, error) {
	u := &Users{path: path, warn: warn, salt: make([]byte, sha256.Size), proven: map[[sha256.Size]byte]bool{}, turns: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))}
	_, _ = rand.Read(u.salt) // it returns no error
	if err := u.read(); err != nil {
		return nil, err
	}
	return u, nil
}

// read takes the file if it has changed.
func (u *Users) read() error {
	raw, err := file.Read(u.path, maxSecret)
	if err != nil {
		return fmt.Errorf("users: %w", err)
	}
	if bytes.Equal(raw, u.raw) && u.hashes != nil {
		return nil
	}
	hashes := map[string][]byte{}
	number := 0
	for line := range strings.Lines(string(raw)) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, hash, _ := strings.Cut(line, ":")
		cost, err := bcrypt.Cost([]byte(hash))
		if name == "" || err != nil || cost > maxCost {
			return fmt.Errorf("users: %s:%d is not NAME:HASH with a hash of bcrypt of a cost up to %d; htpasswd -B writes it", u.path, number, maxCost)
		}
		hashes[name] = []byte(hash)
	}
	if len(hashes) == 0 {
		return fmt.Errorf("users: %s names nobody", u.path)
	}
	u.raw, u.hashes = raw, hashes
	return nil
}

const (
	// maxCost is the highest cost of a hash, which takes about a second.
	maxCost = 14
	// maxProven is how many names with passwords are remembered.
	maxProven = 10_000
)

// admits reports whether a request has the name and the password of a user.
func (u *Users) admits(r *http.Request) bool {
	name, password, ok := r.BasicAuth()
	if !ok {
		return false
	}
	hash, key, proven := u.look(name, password)
	if proven {
		return true
	}
	right, err := u.proving.Do(r.Context(), string(key[:]), func(ctx context.Context) (bool, error) { return u.compare(ctx, hash, password) })
	if err != nil || !right {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.proven) >= maxProven {
		clear(u.proven)
	}
	u.proven[key] = true
	return true
}

// look returns the hash of a user's password, and whether this password was proven before. The key stands for name, password and hash.
func (u *Users) look(name, password string) (hash []byte, key [sha256.Size]byte, proven bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	err := u.read()
	if err != nil && (u.lastFailed == nil || u.lastFailed.Error() != err.Error()) {
		u.warn(u.path, err)
	}
	u.lastFailed = err
	hash = u.hashes[name]
	mac := hmac.New(sha256.New, u.salt)
	fmt.Fprintf(mac, "%q %q %s", name, password, hash)
	mac.Sum(key[:0])
	return hash, key, u.proven[key]
}

// compare compares a password with a hash; an unknown user's with one that none has, so that the time does not tell who is known.
func (u *Users) compare(ctx context.Context, hash []byte, password string) (bool, error) {
	select {
	case u.turns <- struct{}{}:
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
	defer func() { <-u.turns }()
	known := hash != nil
	if !known {
		hash = []byte("$2y$10$AAAAAAAAAAAAAAAAAAAAAOAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	}
	err := bcrypt.CompareHashAndPassword(hash, []byte(password))
	if err != nil && !errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
		return false, err
	}
	return known && err == nil, nil
}
