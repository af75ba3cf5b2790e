package convert

import (
	"errors"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/draysync/dray/internal/image"
)

// userinfo are the users' names and passwords that stand before an "@" anywhere in the files, as in user:password@host. They are
// repeated nowhere: not in the config, and not in what is said of it.
type userinfo []string

func userinfoOf(inputs []input) userinfo {
	var all userinfo
	for _, in := range inputs {
		all.find(in.top.node)
	}
	return all
}

// find looks through a node. What an alias stands for is found where it is written.
func (u *userinfo) find(n *yaml.Node) {
	if n == nil {
		return
	}
	user := n.Value[:max(0, strings.LastIndexByte(n.Value, '@'))]
	if n.Kind == yaml.ScalarNode && strings.Contains(user, ":") && image.HoldsUserinfo(n.Value) {
		*u = append(*u, user)
	}
	for _, c := range n.Content {
		u.find(c)
	}
}

func (u userinfo) outOf(text string) string {
	for _, user := range u {
		text = strings.ReplaceAll(text, user+"@", "[redacted]@")
	}
	return text
}

func (u userinfo) outOfNotes(notes []Note) []Note {
	for i := range notes {
		notes[i].Key, notes[i].Text = u.outOf(notes[i].Key), u.outOf(notes[i].Text)
	}
	return notes
}

func (u userinfo) outOfErrors(errs Errors) Errors {
	for _, e := range errs {
		e.Key, e.Hint = u.outOf(e.Key), u.outOf(e.Hint)
		if text := u.outOf(e.Err.Error()); text != e.Err.Error() {
			e.Err = errors.New(text)
		}
	}
	return errs
}
