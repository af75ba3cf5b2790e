package convert

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// TestUserinfoIsNotRepeated puts a user and a password before a host wherever the tools' configs name one.
func TestUserinfoIsNotRepeated(t *testing.T) {
	const secret = "s3cr3t"
	cases := map[string]struct {
		data    string
		options Options
		// loads is set where the place is none of a reference, and so does not stop the conversion.
		loads bool
	}{
		"regsync source":       {data: "sync:\n- {source: 'robot:s3cr3t@a.io/b', target: c.io/d, type: image}\n"},
		"regsync target":       {data: "sync:\n- {source: a.io/b, target: 'https://robot:s3cr3t@c.io/d', type: image}\n"},
		"regsync expansion":    {data: "sync:\n- {source: 'robot:s3cr3t@{{env \"H\"}}/b', target: c.io/d, type: image}\n"},
		"regsync registry":     {data: "creds: [{registry: 'robot:s3cr3t@a.io', reqConcurrent: 3}]\nsync:\n- {source: a.io/b, target: c.io/d, type: image}\n", loads: true},
		"regsync expression":   {data: "sync:\n- {source: 'robot:s3cr3t@a.io', target: c.io, type: registry, repos: {allow: ['robot:s3cr3t@(x|y)']}}\n- {source: a.io/b, target: c.io/d, type: image}\n", loads: true},
		"dregsy registry":      {data: "tasks:\n- name: a\n  source: {registry: 'robot:s3cr3t@a.io'}\n  target: {registry: b.io}\n  mappings: [{from: a}]\n", loads: true}, // which to dregsy is an account, and left out
		"dregsy mapping":       {data: "tasks:\n- name: a\n  source: {registry: a.io}\n  target: {registry: b.io}\n  mappings: [{from: 'robot:s3cr3t@a', tags: ['robot:s3cr3t@a']}]\n"},
		"image-syncer key":     {data: "images: {'robot:s3cr3t@a.io/b': 'c.io/d:1'}\n"},
		"image-syncer tag":     {data: "images: {'robot:s3cr3t@a.io/b:v1': 'c.io/d'}\n"},
		"image-syncer tags":    {data: "images: {'robot:s3cr3t@a.io/b:v1,v2': ['c.io/d', 'c.io/robot:s3cr3t@x.io/y']}\n"},
		"image-syncer target":  {data: "images: {'a.io/b': ['robot:s3cr3t@c.io/d:1']}\n"},
		"image-syncer account": {data: "auth: {'robot:s3cr3t@a.io': {username: a, password: b}}\nimages: {'a.io/b': 'c.io/d'}\n", loads: true},
		"skopeo registry":      {data: "'robot:s3cr3t@a.io': {images: {b: []}}\n", options: Options{From: Skopeo, Target: "c.io/d"}},
		"skopeo repository":    {data: "a.io: {images: {'robot:s3cr3t@a.io/b': []}}\n", options: Options{From: Skopeo, Target: "c.io/d"}},
		"skopeo tag":           {data: "a.io: {images: {b: ['robot:s3cr3t@x']}}\n", options: Options{From: Skopeo, Target: "c.io/d"}},
		"skopeo --target":      {data: "a.io: {images: {b: ['1']}}\n", options: Options{From: Skopeo, Target: "robot:s3cr3t@c.io/d"}},
		"ocync url":            {data: "registries: {a: {url: 'robot:s3cr3t@a.io'}, c: {url: c.io}}\nmappings:\n- {from: x, source: a, targets: c}\n"},
		"ocync name":           {data: "registries: {a: {url: a.io}}\nmappings:\n- {from: x, source: 'robot:s3cr3t@b', targets: a}\n"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			result, err := Convert([]File{{Name: "f.yml", Data: []byte(c.data)}}, c.options)
			if (err == nil) != c.loads {
				t.Errorf("error: %v", err)
			}
			text := fmt.Sprint(err)
			if result != nil {
				notes, _ := json.Marshal(result.Notes)
				text += string(result.YAML) + string(notes)
			}
			if strings.Contains(text, secret) {
				t.Errorf("the password is repeated:\n%s", text)
			}
		})
	}
}
