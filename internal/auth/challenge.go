package auth

import (
	"net/http"
	"net/url"
	"strings"
)

// Realm returns the token server and the service that the challenge of an answer names; nil for none.
func Realm(header http.Header) (realm *url.URL, service string) {
	for _, c := range parseChallenges(header.Values("WWW-Authenticate")) {
		if c.scheme == bearer && c.params["realm"] != "" {
			if realm, err := url.Parse(c.params["realm"]); err == nil {
				return realm, c.params["service"]
			}
		}
	}
	return nil, ""
}

// challenge is one scheme that a registry offers for sign-in (RFC 9110, 11.6.1).
type challenge struct {
	// scheme and the names of params are in lower case.
	scheme string
	params map[string]string
}

// parseChallenges reads the values of WWW-Authenticate. Each may hold several challenges, and a challenge several parameters, all separated
// by commas. It skips what it cannot parse, and what exceeds maxChallenges.
func parseChallenges(values []string) []challenge {
	var all []challenge
	left := maxChallenges
	for _, value := range values {
		p := parser{value[:min(len(value), left)]}
		left -= len(p.rest)
		for p.rest != "" {
			p.skip(" \t,")
			name := p.word()
			if name == "" {
				p.skipOne()
				continue
			}
			if p.equals() && len(all) > 0 { // a parameter of the previous challenge
				all[len(all)-1].params[strings.ToLower(name)] = p.value()
				continue
			}
			all = append(all, challenge{scheme: strings.ToLower(name), params: map[string]string{}})
			p.token68()
		}
	}
	return all
}

// maxChallenges limits the bytes read of all challenges of an answer.
const maxChallenges = 8 << 10

// parser reads a header from its beginning.
type parser struct{ rest string }

func (p *parser) skip(chars string) { p.rest = strings.TrimLeft(p.rest, chars) }

func (p *parser) skipOne() {
	if p.rest != "" {
		p.rest = p.rest[1:]
	}
}

// word reads a token (RFC 9110, 5.6.2).
func (p *parser) word() string {
	end := strings.IndexFunc(p.rest, func(r rune) bool { return !tokenChar(r) })
	if end < 0 {
		end = len(p.rest)
	}
	word := p.rest[:end]
	p.rest = p.rest[end:]
	return word
}

func tokenChar(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}

// equals reads the sign between a parameter's name and its value, with blanks around it.
func (p *parser) equals() bool {
	rest := strings.TrimLeft(p.rest, " \t")
	if !strings.HasPrefix(rest, "=") {
		return false
	}
	p.rest = strings.TrimLeft(rest[1:], " \t")
	return true
}

// value reads a quoted string, or the text up to a comma or a blank: some registries write a URL without quotes.
func (p *parser) value() string {
	if !strings.HasPrefix(p.rest, `"`) {
		end := strings.IndexAny(p.rest, ", \t")
		if end < 0 {
			end = len(p.rest)
		}
		value := p.rest[:end]
		p.rest = p.rest[end:]
		return value
	}
	var b strings.Builder
	for i := 1; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == '"':
			p.rest = p.rest[i+1:]
			return b.String()
		case c == '\\' && i+1 < len(p.rest):
			i++
			b.WriteByte(p.rest[i])
		default:
			b.WriteByte(c)
		}
	}
	p.rest = ""
	return b.String()
}

// token68 skips what schemes such as Negotiate have instead of parameters: a run of letters, perhaps with trailing equals signs.
func (p *parser) token68() {
	rest := strings.TrimLeft(p.rest, " \t")
	end := strings.IndexAny(rest, ", \t")
	if end < 0 {
		end = len(rest)
	}
	run := strings.TrimRight(rest[:end], "=")
	after := strings.TrimLeft(rest[end:], " \t")
	if run != "" && !strings.ContainsAny(run, `="`) && (after == "" || after[0] == ',') {
		p.rest = rest[end:]
	}
}
