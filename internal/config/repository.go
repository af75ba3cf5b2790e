package config

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

var (
	repositoryLiteral = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$`)
	repositoryClass   = regexp.MustCompile(globClass)
	repositoryGlob    = regexp.MustCompile(`^` + globPart + `(?:/` + globPart + `)*$`)
)

const (
	globClass = `\[(?:[a-z0-9._](?:-[a-z0-9._])?)+\]`
	// globPart matches one part of a path with *, ? and [a-z].
	globPart = `(?:[a-z0-9._*?-]|` + globClass + `)+`
)

func (b *builder) repositories(l list[text], m *Mapping) {
	chosen := false
	for _, t := range l.items {
		if !t.set {
			continue
		}
		pattern, out := strings.CutPrefix(t.value, "!")
		chosen = chosen || !out
		if err := checkRepository(pattern); err != nil {
			b.invalid(t, err, "a path below the source, or a glob")
			continue
		}
		m.Repositories = append(m.Repositories, t.value)
	}
	if len(m.Repositories) > 0 && !chosen {
		b.fail(l.origin, errors.New("only leaves out repositories"), `write "**" to choose all others`)
	}
}

// maxDeep is how many parts of a glob may be "**".
const maxDeep = 2

// checkRepository accepts the path of a repository, and a glob if path.Match reads it the way people do.
func checkRepository(s string) error {
	if !strings.ContainsAny(s, "*?[]{}") {
		if !repositoryLiteral.MatchString(s) {
			return fmt.Errorf("%s is not a path below the source: write lower-case letters and digits, joined by '.', '_', '-', parts by '/'", quote(s))
		}
		return nil
	}
	if !repositoryGlob.MatchString(s) {
		return fmt.Errorf("%s is not a glob of repositories: write lower-case paths with *, ? and [a-z], and several entries for what {a,b} would mean", quote(s))
	}
	deep := 0
	for part := range strings.SplitSeq(s, "/") {
		switch {
		case part == "**":
			deep++
		case strings.Contains(part, "**"):
			return fmt.Errorf("%s has ** beside other characters: it stands for whole parts of a path, as in team/**", quote(s))
		}
	}
	if deep > maxDeep {
		return fmt.Errorf("%s has more than two **", quote(s))
	}
	for _, class := range repositoryClass.FindAllString(s, -1) {
		for i := 2; i+1 < len(class); i++ {
			if class[i] == '-' && class[i-1] > class[i+1] {
				return fmt.Errorf("%s has the range %s, which runs backwards", quote(s), class[i-1:i+2])
			}
		}
	}
	return nil
}
