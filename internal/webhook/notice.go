package webhook

import (
	"crypto/rand"
	"encoding/json"
	"time"
)

// notice is an event on its way: what its hooks share. It is not changed once it is made.
type notice struct {
	id     string
	source string
	at     time.Time
	// queued is when it was handed over, which counts for giving it up; at may be long before.
	queued time.Time
	data   Data
}

func newNotice(source string, kind Kind, at time.Time, data Data) *notice {
	now := time.Now()
	if at.IsZero() {
		at = now
	}
	return &notice{id: rand.Text(), source: source, at: at.UTC(), queued: now, data: normal(kind, data)}
}

// envelope is a CloudEvent 1.0 in structured mode.
type envelope struct {
	SpecVersion     string    `json:"specversion"`
	ID              string    `json:"id"`
	Source          string    `json:"source"`
	Type            string    `json:"type"`
	Subject         string    `json:"subject,omitempty"`
	Time            time.Time `json:"time"`
	DataContentType string    `json:"datacontenttype"`
	Data            Data      `json:"data"`
}

func (n *notice) kind() Kind { return n.data.Kind }

func fieldsOf(n *notice) Fields {
	return Fields{ID: n.id, Type: typePrefix + string(n.kind()), Source: n.source, Time: n.at, Data: n.data}
}

// body makes what is sent to a hook, and says of which type it is.
func (c *compiled) body(n *notice) (body []byte, contentType string, err error) {
	if c.template != nil {
		body, err = execute(c.template, fieldsOf(n))
		return body, "application/json", err
	}
	body, err = json.Marshal(envelope{
		SpecVersion:     "1.0",
		ID:              n.id,
		Source:          n.source,
		Type:            typePrefix + string(n.kind()),
		Subject:         n.data.Job,
		Time:            n.at,
		DataContentType: "application/json",
		Data:            n.data,
	})
	return body, "application/cloudevents+json", err
}
