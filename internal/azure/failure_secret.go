package azure

import (
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"github.com/draysync/dray/internal/lazyregexp"
)

const redaction = "[redacted]"

var (
	// The characters & = ? " as escaped in JSON within JSON, in HTML and in URLs.
	escapedRune = regexp.MustCompile(`(?i)\\u00([2-7][0-9a-f])|&(amp|quot|#38|#34|#61);|%(26|3d|3f)`)
	// Any query: signed URLs (SAS: sig, se, sp…; the Location of an import: t, c, s, h) and future forms of Resource Manager.
	queryValue = regexp.MustCompile(`([?&][\w.~%-]{1,64}=)[^&\s"'<>)]+`)
	urlUser    = regexp.MustCompile(`(?i)\b([a-z][a-z0-9+.-]*://)[^\s/?#@"']*@`)
	// The same without a preceding ? or &.
	looseSigned = regexp.MustCompile(`(?i)(^|[\s"'(,;])((?:sig|sas|se|st|sp|sv|sr|t|c|s|h)=)[^&\s"'<>)]+`)
	secretField = regexp.MustCompile(`(?i)((?:pass(?:word|wd|phrase)?|pwd|secret|token|assertion|api[_-]?key|account[_-]?key|access[_-]?key|` +
		`private[_-]?key|signature|authorization|cookie)["']?\s*[:=]\s*)("(?:[^"\\]|\\.)*"?|'[^']*'?|[^\s,;&"'{}\[\]]+)`)
	bearerValue = regexp.MustCompile(`(?i)\b(bearer|basic)(\s+)[A-Za-z0-9._~+/=-]{4,}`)
	jsonWebPart = regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{4,}[A-Za-z0-9_.=-]*`)
	// Tokens with known prefixes: Docker Hub, GitHub, GitLab, Amazon, Slack.
	knownToken = regexp.MustCompile(`\b(?:dckr_[a-z]+_|gh[pousr]_|github_pat_|glpat-|xox[abprs]-|AKIA|ASIA)[A-Za-z0-9_=-]{6,}`)
	// Docker Hub names the account in its 429s: "as 'user'".
	accountName = regexp.MustCompile(`\bas '[^']*'`)
	// A secret of an Entra application: three characters, a digit, Q~, the rest.
	entraSecret = regexp.MustCompile(`[A-Za-z0-9_.~-]{3}[0-9]Q~[A-Za-z0-9_.~-]{20,}`)
	opaqueRun   = regexp.MustCompile(`[A-Za-z0-9_+~-]{24,}={0,2}`)
	pathRun     = regexp.MustCompile(`[A-Za-z0-9_+/-]{40,}={0,2}`)
	guid        = regexp.MustCompile(`(?i)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
)

// redacted removes from a text whatever is, or looks like, a credential: query values, fields with a telling name, tokens of known forms,
// and long runs of characters that are not a name, digest or GUID.
func redacted(s string) string {
	s = escapedRune.ReplaceAllStringFunc(s, unescaped)
	s = queryValue.ReplaceAllString(urlUser.ReplaceAllString(s, "$1"), "${1}"+redaction)
	s = looseSigned.ReplaceAllString(s, "${1}${2}"+redaction)
	s = jsonWebPart.ReplaceAllString(s, redaction)
	s = bearerValue.ReplaceAllString(s, "${1}${2}"+redaction)
	s = secretField.ReplaceAllString(s, "${1}"+redaction)
	s = knownToken.ReplaceAllString(s, redaction)
	s = accountName.ReplaceAllString(s, "as "+redaction)
	s = entraSecret.ReplaceAllString(s, redaction)
	s = replaceOpaque(pathRun, s)
	return replaceOpaque(opaqueRun, s)
}

func unescaped(s string) string {
	switch strings.ToLower(s) {
	case "&amp;", "&#38;", "%26":
		return "&"
	case "&quot;", "&#34;":
		return `"`
	case "&#61;", "%3d":
		return "="
	case "%3f":
		return "?"
	}
	n, err := strconv.ParseUint(s[2:], 16, 8)
	if err != nil || n >= 0x7f {
		return s
	}
	return string(rune(n))
}

// replaceOpaque redacts the runs that look like a key. Digests are recognized by the preceding algorithm.
func replaceOpaque(run *regexp.Regexp, s string) string {
	var b strings.Builder
	end := 0
	for _, at := range run.FindAllStringIndex(s, -1) {
		before := s[end:at[0]]
		b.WriteString(before)
		text := s[at[0]:at[1]]
		if opaque(text) && !digestFollows(s[:at[0]], text) {
			text = redaction
		}
		b.WriteString(text)
		end = at[1]
	}
	return b.String() + s[end:]
}

var (
	namedDigest  = lazyregexp.New(`^(?:[A-Za-z0-9._/-]*\b)?sha(?:256|384|512)-[0-9a-f]{64,128}(?:\.?[a-z-]*)$`)
	resourcePath = regexp.MustCompile(`(?i)/subscriptions/|/resourceGroups/|/providers/`)
)

func digestFollows(before, run string) bool {
	named := strings.HasSuffix(before, "sha256:") || strings.HasSuffix(before, "sha384:") || strings.HasSuffix(before, "sha512:")
	return named && !strings.ContainsFunc(run, func(r rune) bool { return !strings.ContainsRune("0123456789abcdef", r) })
}

// opaque reports whether a run of characters looks like a key: letters of both cases with digits, or only hexadecimal digits. GUIDs,
// resource IDs and cosign's tags do not.
func opaque(run string) bool {
	if namedDigest().MatchString(run) || resourcePath.MatchString(run) {
		return false
	}
	rest := guid.ReplaceAllString(run, "")
	if len(rest) < 20 {
		return false
	}
	var upper, lower, digit, other bool
	hexadecimal := true
	for _, r := range rest {
		upper = upper || unicode.IsUpper(r)
		lower = lower || unicode.IsLower(r)
		digit = digit || unicode.IsDigit(r)
		other = other || r == '+' || r == '~' || r == '='
		hexadecimal = hexadecimal && strings.ContainsRune("0123456789abcdefABCDEF", r)
	}
	return upper && lower && digit || other && (upper || digit) || hexadecimal && digit
}
