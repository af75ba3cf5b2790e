package azure

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/draysync/dray/internal/image"
)

// decision is by which part of a refusal a rule decides; rules are asked in this order.
type decision int

const (
	// byCode is for error codes that say what is wrong, or whose messages have one form.
	byCode decision = iota
	// byStatus is for a request that failed; an import that ended has no status of its own.
	byStatus
	// byMessage is for InvalidParameters, which the service says of whatever befell an import.
	byMessage
	// byDefault is for what is left.
	byDefault
)

// failureRule is a line of the table. All conditions that are set must hold.
type failureRule struct {
	name string
	by   decision
	// codes are values of error.code, or Entra's AADSTS codes wherever they stand.
	codes []string
	// from and to are the least and the largest HTTP status; both 0 for any.
	from, to int
	// polled and posted are set where only answers about an accepted import match, or only others.
	polled, posted bool
	// text matches the message after its preamble.
	text *regexp.Regexp
	// at is the side at which the registry must be that the group "registry" of text names.
	at string

	kind FailureCode
	side string
	// what and advice may hold {names} of groups of text, and {status} and {code}.
	what, advice string
	// hub is the advice where the source is Docker Hub.
	hub           string
	again, copies bool
	// wait is the least time before another try.
	wait time.Duration
	// mute is set where Azure's words add nothing, raw where they are all there is.
	mute, raw bool

	example Refusal
	// seen tells where the example, or what it is made after, was seen.
	seen string
}

// match tells whether the rule is for what was said, and what the groups of its pattern found.
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

// hasCode tells whether a code is the refusal's, or Entra's within it.
func (h heard) hasCode(code string) bool {
	return strings.EqualFold(code, h.Code) || h.signIn != "" && (code == h.signIn || code == anySignIn)
}

// sideOf is the side of a registry that a message names: the target where nothing tells otherwise.
func (h heard) sideOf(registry string) string {
	if h.target != "" && registry != "" && label(registry) != h.target {
		return SideSource
	}
	return SideTarget
}

// failure is what the rule makes of a refusal.
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

// filled puts values in the place of {names}. A value that has not the form of what it stands for, as whoever wrote the message
// may have meant it to be copied into a shell, is left for the reader to fill in.
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
	hostForm    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]{0,80}$`)
	nameForm    = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,80}$`)
	actionForm  = regexp.MustCompile(`^[A-Za-z]{1,40}(?:[./][A-Za-z]{1,40}){1,8}$`)
	addressForm = regexp.MustCompile(`^[0-9a-fA-F.:]{3,39}$`)
	codeForm    = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)
)

// blankOf is the form of the value that a name stands for, and what stands there where there is no such value.
func blankOf(name string) (form *regexp.Regexp, blank string) {
	switch name {
	case "client":
		return guidForm, "<object id of dray's identity>"
	case "scope":
		return resourceForm, "<resource id of the registry>"
	case "registry":
		return hostForm, "<registry>"
	case "repository":
		return nameForm, "<name>"
	case "action":
		return actionForm, "<action>"
	case "address":
		return addressForm, "<address>"
	case "signin":
		return codeForm, anySignIn
	}
	return codeForm, "none"
}
