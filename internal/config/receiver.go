package config

import (
	"fmt"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/receiver"
)

// Receiver describes a sender whose events are accepted. It has been checked by [receiver.Check].
type Receiver struct {
	Pos Position
	// Name is a part of the path.
	Name string
	// Type is one of [receiver.Types].
	Type string
	// Secret is the secret shared with the sender; empty only for the type gcr.
	Secret Secret
	// Registry is the canonical host that replaces the one in events; empty to keep that.
	Registry string
	// Audience and ServiceAccount are those of Google's tokens.
	Audience, ServiceAccount string
}

// receivers returns the entries of the list and reports their mistakes.
func (b *builder) receivers(l *series[receiverSection]) []Receiver {
	var all []Receiver
	var sections []receiverSection
	var check []receiver.Receiver
	l.each(func(s *receiverSection) {
		if !s.Name.set || !s.Type.set || s.Secret.broken() || s.Registry.broken() || s.Audience.broken() || s.ServiceAccount.broken() {
			return // that has been reported
		}
		host := s.Registry.value
		if canonical, err := image.CanonicalHost(host); err == nil {
			host = canonical
		}
		r := Receiver{
			Pos: s.origin.pos, Name: s.Name.value, Type: s.Type.value, Secret: Secret(s.Secret.value), Registry: host,
			Audience: s.Audience.value, ServiceAccount: s.ServiceAccount.value,
		}
		all, sections = append(all, r), append(sections, *s)
		check = append(check, r.Options())
	})
	for i, r := range all {
		if first, ok := b.hooks[r.Name]; ok && first.File != r.Pos.File {
			b.fail(sections[i].Name.origin, fmt.Errorf("%s has a receiver of this name", first.From(r.Pos.File)), "give each a name of its own")
			continue
		}
		b.hooks[r.Name] = r.Pos
	}
	for _, m := range receiver.Check(check) {
		s := sections[m.Index]
		if t, wanted := s.culprit(m.Field); t.set {
			b.invalid(t, m.Err, wanted)
		} else {
			b.fail(s.origin.below(m.Field), m.Err, "write "+wanted)
		}
	}
	return all
}

// Options returns the settings for package receiver.
func (r Receiver) Options() receiver.Receiver {
	return receiver.Receiver{
		Name: r.Name, Type: r.Type, Secret: r.Secret.Reveal(), Registry: r.Registry, Audience: r.Audience, ServiceAccount: r.ServiceAccount,
	}
}

// culprit returns the text that a mistake is about, and what it should be.
func (s receiverSection) culprit(field string) (t text, wanted string) {
	switch field {
	case "name":
		return s.Name, "a short name such as hub"
	case "secret":
		return s.Secret, "a secret of at least 16 characters, such as openssl rand -hex 32 makes"
	case "registry":
		return s.Registry, "the host as the mappings have it, such as registry.example.com:5000"
	case "audience":
		return s.Audience, "the audience of the subscription's token"
	case "serviceAccount":
		return s.ServiceAccount, "an e-mail address such as events@project.iam.gserviceaccount.com"
	}
	return s.Type, ""
}
