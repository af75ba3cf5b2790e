package convert

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

const (
	// lowest and highest stand behind a version for the least and the greatest of its pre-releases, and so take pre-releases in.
	lowest  = "-0"
	highest = "-zz"
)

var (
	comparator   = regexp.MustCompile(`^(>=|<=|==|!=|[<>=!~^])?v?([0-9]{1,9})(?:\.([0-9]{1,9}))?(?:\.([0-9]{1,9}))?(-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?$`)
	spacedSymbol = regexp.MustCompile(`(>=|<=|==|!=|[<>=!])\s+`)
)

// ordered writes a range of a tool that compares pre-releases by their order alone as one for dray, which takes pre-releases
// only where each part of the range names one. In ">=1.4.0", 1.5.0-rc1 is and 1.4.0-rc1 is not.
func ordered(expression string) (string, error) {
	var alternatives []string
	for alternative := range strings.SplitSeq(spacedSymbol.ReplaceAllString(expression, "$1"), "||") {
		var parts []string
		for field := range strings.FieldsSeq(alternative) {
			part, err := orderedPart(field)
			if err != nil {
				return "", err
			}
			parts = append(parts, part)
		}
		if len(parts) == 0 {
			return "", fmt.Errorf("the range %q has an empty part", expression)
		}
		alternatives = append(alternatives, strings.Join(parts, ", "))
	}
	return strings.Join(alternatives, " || "), nil
}

func orderedPart(field string) (string, error) {
	found := comparator.FindStringSubmatch(field)
	if found == nil {
		return "", fmt.Errorf("%q is not a comparison with a version", field)
	}
	var v [3]int
	for i := range v {
		v[i], _ = strconv.Atoi(found[2+i]) // digits only; a part that is not there is 0
	}
	op, pre := found[1], found[5]
	version := func(major, minor, patch int) string { return fmt.Sprintf("%d.%d.%d", major, minor, patch) }
	this := version(v[0], v[1], v[2])
	from := ">=" + this + highest
	if pre != "" {
		from = ">=" + this + pre
	}
	switch {
	case op == "~":
		return from + ", <" + version(v[0], v[1]+1, 0) + highest, nil
	case op == "^" && v[0] > 0:
		return from + ", <" + version(v[0]+1, 0, 0) + highest, nil
	case op == "^" && v[1] > 0:
		return from + ", <" + version(0, v[1]+1, 0) + highest, nil
	case op == "^":
		return from + ", <" + version(0, 0, v[2]+1) + highest, nil
	case op == "" || op == "=" || op == "==":
		return "=" + this + pre, nil
	case op == "!" || op == "!=":
		return "!=" + this + pre, nil
	case op == ">=":
		return from, nil
	case pre != "":
		return op + this + pre, nil
	case op == "<":
		return "<" + this + highest, nil
	case op == ">":
		return ">=" + version(v[0], v[1], v[2]+1) + lowest, nil
	}
	return "<" + version(v[0], v[1], v[2]+1) + lowest, nil // <=
}

// remarkOrdered says what the versions of a range mean, once for a mapping.
func (d *document) remarkOrdered(m *mapping, at value) {
	if m.ranges {
		return
	}
	m.ranges = true
	d.remarkMapping(m, "tags", at, "%s includes pre-releases such as 1.2.3-alpine; -zz after a version stands for its greatest pre-release, -0 for its least", d.tool)
}
