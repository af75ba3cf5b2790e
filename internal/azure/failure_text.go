package azure

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// heard is a refusal taken apart.
type heard struct {
	Refusal
	// detail is the message without what Azure puts before every failure of an import.
	detail string
	// target is the first label of the target's login server, in lower case; empty where nothing tells.
	target string
	// signIn is the AADSTS code of Entra that the message carries; empty where it carries none.
	signIn string
	// ended is set where the message is of an import that has run and failed: then the status is not the request's own.
	ended bool
}

const (
	// maxHeard bounds what is looked at of a message, in bytes: nothing that matters comes later.
	maxHeard = 16 << 10
	// maxSaid bounds what is kept of a message, in runes.
	maxSaid = 300
	// maxID bounds ids and codes, in bytes.
	maxID = 64
	// maxNested is how deep an error within an error's message is looked for.
	maxNested = 3
)

var (
	// "Deployment failed. Correlation ID: G. " is how old clients hand it on, "(Conflict) " how newer ones do.
	clientPreamble = regexp.MustCompile(`^(?:Deployment failed\. Correlation ID: [0-9a-fA-F-]{8,64}\. |\([A-Za-z]{1,64}\) )`)
	// The resource is the target's, whichever side failed (azure-cli#31412).
	preamble = regexp.MustCompile(`^Operation registries-\S{1,80} failed\. Resource /\S{0,400}/registries/(\S{1,100}) `)
	// A status line of Entra, as azidentity hands it on.
	signInCode = regexp.MustCompile(`\bAADSTS[0-9]{4,9}\b`)
)

// hear takes a refusal apart.
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
		rest := clientPreamble.ReplaceAllString(h.detail, "")
		if rest == h.detail {
			break
		}
		h.detail = rest
	}
	h.target = label(r.Target)
	if m := preamble.FindStringSubmatch(h.detail); m != nil {
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

// label is the first label of a host in lower case, without the hash of a login server such as name-1a2b3c.azurecr.io: names of
// registries have no hyphen.
func label(host string) string {
	first, _, _ := strings.Cut(strings.ToLower(host), ".")
	name, _, _ := strings.Cut(first, "-")
	return name
}

// errorBodies are the forms in which registries and Resource Manager tell of errors.
type errorBodies struct {
	Errors []struct {
		Code    any    `json:"code"`
		Message string `json:"message"`
	} `json:"errors"`
	Error   json.RawMessage `json:"error"`
	Details string          `json:"details"`
	Text    string          `json:"error_description"`
}

// innerError finds the error in the first JSON object of a text; ok is false where there is none that says something.
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
		_ = json.Unmarshal(body.Error, &code) // OAuth's: error is a string, and may well be missing
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

// brokenError reads what it can of an object that breaks off.
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

// useful is the part of a message that tells a person something, as one line: the words before the answer that it quotes, and the
// code and message of that.
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
	// "Unauthorized Unauthorized": the name of a status, and its phrase.
	if name, phrase, two := strings.Cut(words, " "); two && strings.EqualFold(name, strings.ReplaceAll(phrase, " ", "")) {
		words = phrase
	}
	return oneLine(strings.Trim(words+": "+inner, ": "))
}

// entraSays is the sentence of Entra's that begins with its code, without the ids and times after it.
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

// oneLine makes an untrusted text fit for a line of a log: no control or format characters, no secrets, and no more than maxSaid runes.
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

// identifier keeps of an id or a code what may be in one.
func identifier(s string) string {
	return truncated(strings.Map(func(r rune) rune {
		if r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("-_.", r)) {
			return r
		}
		return -1
	}, truncated(s, maxHeard)), maxID)
}
