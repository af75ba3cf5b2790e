// Package switching refuses answers that switch to another protocol. Their body is the connection itself: it has no end, and neither a
// context nor a timeout ends the reading of it.
package switching

import (
	"errors"
	"net/http"
)

// ErrSwitched is the error in place of such an answer.
var ErrSwitched = errors.New("the answer is 101 Switching Protocols, for which nobody asked")

// Refused returns what a transport or client has returned, or ErrSwitched.
func Refused(resp *http.Response, err error) (*http.Response, error) {
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		return resp, err
	}
	_ = resp.Body.Close() // nothing was written
	return nil, ErrSwitched
}
