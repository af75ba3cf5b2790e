package webhook

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"text/template"
)

// Hook is one receiver. Printing it shows its host only.
type Hook struct {
	// URL is http or https, and may hold a token or a user's name and password.
	URL string
	// Secret signs what is sent; empty leaves the signature out.
	Secret string
	// On is what the receiver wants; empty means all but imported.
	On []Kind
	// Template makes the body; empty means a CloudEvent.
	Template string
}

// String returns the host.
func (h Hook) String() string {
	u, err := url.Parse(h.URL)
	if err != nil {
		return ""
	}
	return u.Host
}

// GoString returns the host too, for %#v.
func (h Hook) GoString() string { return fmt.Sprintf("webhook.Hook(%q)", h.String()) }

// LogValue returns the host too, for handlers that write values as JSON.
func (h Hook) LogValue() slog.Value { return slog.StringValue(h.String()) }

func (h Hook) equal(other Hook) bool {
	return h.URL == other.URL && h.Secret == other.Secret && h.Template == other.Template && slices.Equal(h.On, other.On)
}

// HookError is a mistake in one of the hooks. It can be told to anybody: it holds nothing secret.
type HookError struct {
	// Index is the hook's, from 0.
	Index int
	// Field is the key in the config: webhook, secret, on or template.
	Field string
	Err   error
}

// Error names the field by its path in the config.
func (e *HookError) Error() string {
	return fmt.Sprintf("notifications[%d].%s: %v", e.Index, e.Field, e.Err)
}

// Unwrap returns the mistake without its place.
func (e *HookError) Unwrap() error { return e.Err }

// Check returns the mistakes of all hooks, joined, each a [*HookError]. Hooks without one are good for [New] and
// [Sender.Reconfigure].
func Check(hooks []Hook) error {
	_, err := compile(hooks)
	return err
}

// compiled is a hook that can be sent to.
type compiled struct {
	Hook
	url      *url.URL
	key      []byte
	on       []Kind
	template *template.Template
}

func compile(hooks []Hook) ([]*compiled, error) {
	all := make([]*compiled, 0, len(hooks))
	var mistakes []error
	for i, h := range hooks {
		c := &compiled{Hook: h}
		steps := []struct {
			field string
			read  func() error
		}{
			{"webhook", c.readURL}, {"secret", c.readSecret}, {"on", c.readKinds}, {"template", c.readTemplate},
		}
		for _, step := range steps {
			if err := step.read(); err != nil {
				mistakes = append(mistakes, &HookError{Index: i, Field: step.field, Err: err})
			}
		}
		all = append(all, c)
	}
	return all, errors.Join(mistakes...)
}

// readURL says nothing of what url.Parse finds: its errors quote the URL.
func (c *compiled) readURL() error {
	u, err := url.Parse(c.URL)
	switch {
	case err != nil:
		return errors.New("is not a URL")
	case u.Scheme != "https" && u.Scheme != "http":
		return errors.New("is not a URL that starts with https:// or http://")
	case u.Hostname() == "":
		return errors.New("has no host")
	case u.Fragment != "":
		return errors.New("has a fragment (#), which is never sent")
	}
	c.url = u
	return nil
}

func (c *compiled) readSecret() (err error) {
	c.key, err = signingKey(c.Secret)
	return err
}

func (c *compiled) readKinds() error {
	for _, kind := range c.On {
		if !slices.Contains(Kinds(), kind) {
			return fmt.Errorf("%q is none of %v", kind, Kinds())
		}
	}
	c.on = c.On
	if len(c.on) == 0 {
		c.on = []Kind{Failed, Recovered, ConfigRejected, ConfigAccepted}
	}
	return nil
}

func (c *compiled) readTemplate() (err error) {
	if c.Template == "" {
		return nil
	}
	if c.template, err = parseTemplate(c.Template); err != nil {
		return err
	}
	return tryTemplate(c.template, append(slices.Clone(c.on), Missed))
}
