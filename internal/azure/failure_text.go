package azure

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/draysync/dray/internal/lazyregexp"
)

// heard is a parsed refusal.
type heard struct {
	Refusal
	// detail is the message without the preamble that Azure gives every failed import.
	detail string
	// target is the first label of the target's login server, in lower case; empty if unknown.
	target string
	// signIn is the AADSTS code of Entra in the message; empty if there is none.
	signIn string
	// ended is set if the message is about an import that ran and failed: the status is then not that of the request.
	ended bool
}

const (
	// maxHeard limits how much of a message is parsed, in bytes: nothing relevant comes later.
	maxHeard = 16 << 10
	// maxSaid limits how much of a message is kept, in runes.
	maxSaid = 300
	// maxID limits the length of IDs and codes, in bytes.
	maxID = 64
	// maxNested limits the depth of errors nested in error messages.
	maxNested = 3
)

var (
	// Old clients add "Deployment failed. Correlation ID: G. ", newer ones "(Conflict) ".
	clientPreamble = lazyregexp.New(`^(?:Deployment failed\. Correlation ID: [0-9a-fA-F-]{8,64}\. |\([A-Za-z]{1,64}\) )`)
	// The resource is always the target's, whichever side failed (azure-cli#31412).
	preamble = lazyregexp.New(`^Operation registries-\S{1,80} failed\. Resource /\S{0,400}/registries/(\S{1,100}) `)
	// A status line of Entra in azidentity's errors.
	signInCode = regexp.MustCompile(`\bAADSTS[0-9]{4,9}\b`)
)

// hear parses a refusal.
func hear(r Refusal) heard {
	h := heard{Refusal: r}
	h.detail = truncated(strings.ToValidUTF8(r.Message, "?"), maxHeard)
	for range maxNested {
		code, message, ok := innerError(h.detail)
		if !ok || !strings.HasPrefix(strings.TrimSpace(h.detail), "{") {
			break
		}
		if h.Code == "" {
			h.Code = code
		}
		h.detail = message
	}
	h.detail = strings.TrimSpace(h.detail)
	for {
		rest := clientPreamble().ReplaceAllString(h.detail, "")
		if rest == h.detail {
			break
		}
		h.detail = rest
	}
	h.target = label(r.Target)
	if m := preamble().FindStringSubmatch(h.detail); m != nil {
		h.ended = true
		h.detail = strings.TrimSpace(h.detail[len(m[0]):])
		if h.target == "" {
			h.target = label(m[1])
		}
	}
	if !r.Polled && !h.ended {
		h.signIn = signInCode.FindString(h.detail)
	}
	return h
}

// label returns the first label of a host in lower case, without the hash of a login server such as name-1a2b3c.azurecr.io: registry names
// have no hyphen.
func label(host string) string {
	first, _, _ := strings.Cut(strings.ToLower(host), ".")
	name, _, _ := strings.Cut(first, "-")
	return name
}

// errorBodies are the error formats of registries and Resource Manager.
type errorBodies struct {
	Errors []struct {
		Code    any    `json:"code"`
		Message string `json:"message"`
	} `json:"errors"`
	Error   json.RawMessage `json:"error"`
	Details string          `json:"details"`
	Text    string          `json:"error_description"`
}

// innerError returns the error in the first JSON object of a text; ok is false if there is none with content.
func innerError(text string) (code, message string, ok bool) {
	_, rest, found := strings.Cut(text, "{")
	if !found {
		return "", "", false
	}
	var body errorBodies
	if json.NewDecoder(strings.NewReader("{"+rest)).Decode(&body) != nil {
		return brokenError(rest)
	}
	var nested struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	switch {
	case len(body.Errors) > 0:
		first := body.Errors[0]
		if text, is := first.Code.(string); is {
			code = text
		}
		message = first.Message
	case json.Unmarshal(body.Error, &nested) == nil:
		code, message = nested.Code, nested.Message
	case body.Text != "":
		_ = json.Unmarshal(body.Error, &code) // in OAuth, error is a string, and may be missing
		message = body.Text
	default:
		message = body.Details
	}
	return code, message, code != "" || message != ""
}

var (
	brokenCode    = regexp.MustCompile(`"code"\s*:\s*"([A-Za-z_]{1,64})"`)
	brokenMessage = regexp.MustCompile(`"message"\s*:\s*"((?:[^"\\]|\\.)*)`)
)

// brokenError reads as much as possible of a truncated object.
func brokenError(text string) (code, message string, ok bool) {
	if m := brokenCode.FindStringSubmatch(text); m != nil {
		code = m[1]
	}
	if m := brokenMessage.FindStringSubmatch(text); m != nil {
		message = m[1]
		if plain, err := strconv.Unquote(`"` + m[1] + `"`); err == nil {
			message = plain
		}
	}
	return code, message, code != "" || message != ""
}

// useful returns the informative part of a message on one line: the words before the quoted answer, and the code and message of that answer.
func (h heard) useful() string {
	if h.signIn != "" {
		return h.entraSays()
	}
	words, _, quoted := strings.Cut(h.detail, "{")
	if !quoted {
		return oneLine(h.detail)
	}
	code, message, ok := innerError(h.detail)
	if !ok {
		return oneLine(words)
	}
	inner := strings.TrimPrefix(strings.Trim(code+": "+message, ": "), "UNKNOWN: ")
	words = strings.TrimSpace(strings.TrimPrefix(words, "Invalid message "))
	// "Unauthorized Unauthorized" is the name of a status and its reason phrase.
	if name, phrase, two := strings.Cut(words, " "); two && strings.EqualFold(name, strings.ReplaceAll(phrase, " ", "")) {
		words = phrase
	}
	return oneLine(strings.Trim(words+": "+inner, ": "))
}

// entraSays returns Entra's sentence that begins with its code, without the IDs and times that follow.
func (h heard) entraSays() string {
	text := h.detail
	if _, message, ok := innerError(text); ok && strings.Contains(message, h.signIn) {
		text = message
	}
	text = text[strings.Index(text, h.signIn):]
	text, _, _ = strings.Cut(text, "Trace ID:")
	return oneLine(text)
}

// truncated cuts s to at most n bytes, at a rune.
func truncated(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// oneLine sanitizes an untrusted text for one line of a log: no control or format characters, no secrets, at most maxSaid runes.
func oneLine(s string) string {
	s = strings.ToValidUTF8(truncated(s, maxHeard), "?")
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r) || unicode.IsControl(r):
			return ' '
		case unicode.Is(unicode.Cf, r), r == '\u2028', r == '\u2029':
			return -1
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(redacted(s)), " ")
	if utf8.RuneCountInString(s) <= maxSaid {
		return s
	}
	return string([]rune(s)[:maxSaid-1]) + "…"
}

// identifier removes the characters that cannot be in an ID or code.
func identifier(s string) string {
	return truncated(strings.Map(func(r rune) rune {
		if r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("-_.", r)) {
			return r
		}
		return -1
	}, truncated(s, maxHeard)), maxID)
}
