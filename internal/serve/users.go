package serve

import (
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

	"github.com/draysync/dray/internal/flight"
)

// Users are names and hashes of passwords in a file as htpasswd -B writes it. It is read for each request. While it cannot be used, the last
// one that could be stays in effect.
type Users struct {
	hashes *followed[map[string][]byte]
	// salt keeps what was proven from being compared with hashes made elsewhere.
	salt []byte
	// turns are taken by those that compute a hash, which takes a processor for tens of milliseconds.
	turns   chan struct{}
	proving flight.Group[bool]

	mu     sync.Mutex
	proven map[[sha256.Size]byte]bool
}

// LoadUsers reads a file of users. Warn is told when a change of the file cannot be used, and of each reason once.
func LoadUsers(path string, warn func(path string, err error)) (*Users, error) {
	hashes, err := follow(func(contents [][]byte) (map[string][]byte, error) { return parseUsers(path, contents[0]) }, warn, path)
	if err != nil {
		return nil, fmt.Errorf("users: %w", err)
	}
	u := &Users{hashes: hashes, salt: make([]byte, sha256.Size), proven: map[[sha256.Size]byte]bool{}, turns: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))}
	_, _ = rand.Read(u.salt) // it returns no error
	return u, nil
}

// parseUsers returns the hashes of passwords by names.
func parseUsers(path string, text []byte) (map[string][]byte, error) {
	hashes := map[string][]byte{}
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, hash, _ := strings.Cut(line, ":")
		cost, err := bcrypt.Cost([]byte(hash))
		if name == "" || err != nil || cost > maxCost {
			return nil, fmt.Errorf("%s:%d is not NAME:HASH with a hash of bcrypt of a cost up to %d; htpasswd -B writes it", path, number, maxCost)
		}
		hashes[name] = []byte(hash)
	}
	if len(hashes) == 0 {
		return nil, fmt.Errorf("%s names nobody", path)
	}
	return hashes, nil
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
	hash, key, proven := u.look(r.Context(), name, password)
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
func (u *Users) look(ctx context.Context, name, password string) (hash []byte, key [sha256.Size]byte, proven bool) {
	hash = u.hashes.get(ctx)[name]
	mac := hmac.New(sha256.New, u.salt)
	fmt.Fprintf(mac, "%q %q %s", name, password, hash)
	mac.Sum(key[:0])
	u.mu.Lock()
	defer u.mu.Unlock()
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
