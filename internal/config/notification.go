package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/draysync/dray/internal/webhook"
)

// Notification says which events to send where. It has been checked by [webhook.Check].
type Notification struct {
	Pos Position
	// URL is http or https, and may itself be a secret.
	URL Secret
	// Secret is the signing key; empty for no signature.
	Secret Secret
	// On are kinds of events; empty for the default.
	On []string
	// Template is the template of the body; empty for a CloudEvent.
	Template string
}

// notifications returns the entries of the list and reports their mistakes.
func (b *builder) notifications(l *series[notificationSection]) []Notification {
	var all []Notification
	var sections []notificationSection
	var hooks []webhook.Hook
	l.each(func(s *notificationSection) {
		if !s.Webhook.set {
			return // that has been reported
		}
		n := Notification{
			Pos: s.origin.pos, URL: Secret(s.Webhook.value), Secret: Secret(s.Secret.value), On: values(s.On), Template: s.Template.value,
		}
		hook := webhook.Hook{URL: s.Webhook.value, Secret: s.Secret.value, Template: s.Template.value}
		for _, t := range s.On.items {
			if t.set {
				hook.On = append(hook.On, webhook.Kind(t.value))
			}
		}
		all, sections, hooks = append(all, n), append(sections, *s), append(hooks, hook)
	})
	b.hookMistakes(sections, webhook.Check(hooks))
	return all
}

// hookMistakes reports each mistake at its position in the file.
func (b *builder) hookMistakes(sections []notificationSection, err error) {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return
	}
	for _, err := range joined.Unwrap() {
		e, ok := errors.AsType[*webhook.HookError](err)
		if !ok || e.Index >= len(sections) {
			continue
		}
		t, wanted := sections[e.Index].culprit(e.Field)
		// The error of a template's parser may quote several lines of it.
		b.invalid(t, errors.New(strings.Join(strings.Fields(e.Err.Error()), " ")), wanted)
	}
}

// culprit returns the text that a mistake is about, and what it should be.
func (s notificationSection) culprit(field string) (t text, wanted string) {
	switch field {
	case "webhook":
		return s.Webhook, "a URL that starts with https:// or http://"
	case "secret":
		return s.Secret, "a key to sign with: at least 24 characters, or whsec_ and base64"
	case "template":
		return s.Template, "a template of JSON"
	}
	return text{origin: s.On.origin}, fmt.Sprintf("some of %v", webhook.Kinds())
}
