package store

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// impatient is a connection that fails when the other side is silent for too long. Who uses it only reads where an answer is due, and sets
// deadlines only to give up.
type impatient struct {
	net.Conn
	patience time.Duration

	mu      sync.Mutex
	givenUp bool // a deadline is set
}

func (c *impatient) Read(b []byte) (int, error) {
	c.limit(c.Conn.SetReadDeadline)
	n, err := c.Conn.Read(b)
	return n, c.explained(err)
}

func (c *impatient) Write(b []byte) (int, error) {
	c.limit(c.Conn.SetWriteDeadline)
	n, err := c.Conn.Write(b)
	return n, c.explained(err)
}

// limit sets a deadline, unless one is set.
func (c *impatient) limit(set func(time.Time) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.givenUp {
		_ = set(time.Now().Add(c.patience)) //nolint:forbidigo // deadlines of connections are by the clock of the machine
	}
}

// explained makes an error of a deadline of limit one after which the connection cannot be used.
func (c *impatient) explained(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.givenUp || !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return fmt.Errorf("it was silent for %v", c.patience)
}

// SetDeadline implements [net.Conn].
func (c *impatient) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.givenUp = !t.IsZero()
	return c.Conn.SetDeadline(t)
}
