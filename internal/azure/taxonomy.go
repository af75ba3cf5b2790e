package azure

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/lazyregexp"
)

// decision is the part of a refusal that a rule tests; rules are tried in this order.
type decision int

const (
	// byCode is for specific error codes, and for codes whose messages have one form.
	byCode decision = iota
	// byStatus is for a failed request; an import that ended has no status of its own.
	byStatus
	// byMessage is for InvalidParameters, the code of nearly every failed import.
	byMessage
	// byDefault is for everything else.
	byDefault
)

// failureRule is a row of the table. All conditions that are set must hold.
type failureRule struct {
	name string
	by   decision
	// codes are values of error.code, or Entra's AADSTS codes anywhere in the refusal.
	codes []string
	// from and to are the lowest and highest HTTP status; both 0 for any.
	from, to int
	// polled is set if only answers about an accepted import match, posted if only others do.
	polled, posted bool
	// text matches the message after its preamble.
	text *regexp.Regexp
	// at is the required side of the registry in the group "registry" of text.
	at string

	kind FailureCode
	side string
	// what and advice may contain {names} of groups of text, and {status} and {code}.
	what, advice string
	// hub is the advice if the source is Docker Hub.
	hub           string
	again, copies bool
	// wait is the minimum pause before another try.
	wait time.Duration
	// mute is set if Azure's text adds nothing, raw if there is nothing else to show.
	mute, raw bool

	example Refusal
	// seen is where the example, or its model, was observed.
	seen string
}

// match reports whether the rule matches, and returns the groups of its pattern.
func (r *failureRule) match(h heard) (map[string]string, bool) {
	switch {
	case r.by == byStatus && h.ended,
		r.polled && !h.Polled, r.posted && (h.Polled || h.ended),
		r.to != 0 && (h.Status < r.from || h.Status > r.to),
		len(r.codes) > 0 && !slices.ContainsFunc(r.codes, h.hasCode):
		return nil, false
	case r.text == nil:
		return nil, true
	}
	groups := r.text.FindStringSubmatch(h.detail)
	if groups == nil {
		return nil, false
	}
	found := map[string]string{}
	for i, name := range r.text.SubexpNames() {
		if name != "" && groups[i] != "" {
			found[name] = groups[i]
		}
	}
	return found, r.at == "" || r.at == h.sideOf(found["registry"])
}

// anySignIn stands for every AADSTS code.
const anySignIn = "AADSTS"

// hasCode reports whether a code is the refusal's, or Entra's within it.
func (h heard) hasCode(code string) bool {
	return strings.EqualFold(code, h.Code) || h.signIn != "" && (code == h.signIn || code == anySignIn)
}

// sideOf returns the side of a registry that a message names: the target unless the message says otherwise.
func (h heard) sideOf(registry string) string {
	if h.target != "" && registry != "" && label(registry) != h.target {
		return SideSource
	}
	return SideTarget
}

// failure returns the failure that the rule derives from a refusal.
func (r failureRule) failure(h heard, found map[string]string) Failure {
	values := map[string]string{"code": identifier(h.Code)}
	if h.Status != 0 {
		values["status"] = strconv.Itoa(h.Status)
	}
	for name, value := range found {
		values[name] = value
	}
	advice := r.advice
	if r.hub != "" && (h.Source == "" || h.Source == image.DockerHub) {
		advice = r.hub
	}
	f := Failure{
		Kind: r.kind, Side: r.side, Text: filled(r.what, values), Advice: filled(advice, values), Again: r.again, CopyCures: r.copies,
		RetryAfter: max(h.RetryAfter, 0), CorrelationID: identifier(h.CorrelationID),
	}
	if r.again {
		f.RetryAfter = max(f.RetryAfter, r.wait)
	}
	said := ""
	switch {
	case r.raw:
		said = oneLine(h.detail)
	case !r.mute:
		said = h.useful()
	}
	if !strings.HasSuffix(said, "..") {
		said = strings.TrimSuffix(said, ".") // a semicolon follows
	}
	if said != "" {
		f.Text += ": " + said
	}
	return f
}

var placeholder = regexp.MustCompile(`\{[a-z]+\}`)

// filled replaces {names} by values. A value with an unexpected form is left for the reader to fill in, since the message's author may want
// it copied into a shell.
func filled(text string, values map[string]string) string {
	return placeholder.ReplaceAllStringFunc(text, func(name string) string {
		form, blank := blankOf(strings.Trim(name, "{}"))
		if value := values[strings.Trim(name, "{}")]; form.MatchString(value) {
			return value
		}
		return blank
	})
}

var (
	guidForm     = regexp.MustCompile(`^` + guid.String() + `$`)
	resourceForm = regexp.MustCompile(`(?i)^/subscriptions/[0-9a-f-]{1,36}(?:/resourceGroups/[\w.()-]{1,90}` +
		`(?:/providers/Microsoft\.ContainerRegistry/registries/[a-z0-9]{1,50})?)?$`)
	hostForm    = lazyregexp.New(`^[A-Za-z0-9][A-Za-z0-9.-]{0,80}$`)
	nameForm    = lazyregexp.New(`^[a-z0-9][a-z0-9._-]{0,80}$`)
	actionForm  = lazyregexp.New(`^[A-Za-z]{1,40}(?:[./][A-Za-z]{1,40}){1,8}$`)
	addressForm = lazyregexp.New(`^[0-9a-fA-F.:]{3,39}$`)
	codeForm    = lazyregexp.New(`^[A-Za-z0-9_.-]{1,64}$`)
)

// blankOf returns the form of a name's value, and the placeholder that is shown without a valid value.
func blankOf(name string) (form *regexp.Regexp, blank string) {
	switch name {
	case "client":
		return guidForm, "<object id of dray's identity>"
	case "scope":
		return resourceForm, "<resource id of the registry>"
	case "registry":
		return hostForm(), "<registry>"
	case "repository":
		return nameForm(), "<name>"
	case "action":
		return actionForm(), "<action>"
	case "address":
		return addressForm(), "<address>"
	case "signin":
		return codeForm(), anySignIn
	}
	return codeForm(), "none"
}
