package schedule

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// kind is one of the five fields.
type kind struct {
	what     string
	min, max int
	// names are the names of the numbers from min on, three letters each.
	names string
	// unit is the unit, in hours, of the "@every" to suggest for a step that is too wide; 0 for minutes.
	unit int
}

// kinds are the fields in order. In the last, 7 is Sunday as well as 0.
func kinds() [5]kind {
	return [5]kind{
		{what: "minute", max: 59},
		{what: "hour", max: 23, unit: 1},
		{what: "day of the month", min: 1, max: 31, unit: 24},
		{what: "month", min: 1, max: 12, names: "JANFEBMARAPRMAYJUNJULAUGSEPOCTNOVDEC"},
		{what: "day of the week", max: 7, names: "SUNMONTUEWEDTHUFRISAT"},
	}
}

// field is a checked field.
type field struct {
	// text is the field as written for the parser: only numbers within range.
	text string
	// star is set if the field has a "*", whole if it is just "*".
	star, whole bool
}

func parseField(k kind, text string) (field, error) {
	terms := strings.Split(text, ",")
	f := field{whole: len(terms) == 1}
	for i, t := range terms {
		parsed, err := parseTerm(k, t)
		if err != nil {
			return field{}, fmt.Errorf("%s %s: %w", k.what, quote(text), err)
		}
		if parsed.whole && len(terms) > 1 {
			return field{}, fmt.Errorf(`%s %s: "*" stands for all there is: leave out the rest`, k.what, quote(text))
		}
		f.star = f.star || parsed.star
		f.whole = f.whole && parsed.whole
		terms[i] = parsed.text
	}
	f.text = strings.Join(terms, ",")
	return f, nil
}

// parseTerm parses an entry of a list: a number, a range or "*", with a step or without.
func parseTerm(k kind, text string) (field, error) {
	base, stepText, stepped := strings.Cut(text, "/")
	low, high, err := parseRange(k, base, stepped)
	if err != nil {
		return field{}, err
	}
	f := field{star: base == "*"}
	step := 1
	if stepped {
		if step, err = parseStep(k, stepText, low, high, f.star); err != nil {
			return field{}, err
		}
	}
	if f.star && step == 1 {
		return field{text: "*", star: true, whole: true}, nil
	}
	f.text = write(k, low, high, step)
	return f, nil
}

// write returns the numbers of a term for the parser, which does not know 7 as a day of the week.
func write(k kind, low, high, step int) string {
	if high < 7 || k.max != 7 {
		return fmt.Sprintf("%d-%d/%d", low, high, step)
	}
	var numbers []string
	for n := low; n <= high; n += step {
		numbers = append(numbers, strconv.Itoa(n%7))
	}
	return strings.Join(numbers, ",")
}

func parseRange(k kind, text string, stepped bool) (low, high int, err error) {
	last := k.max
	if last == 7 {
		last = 6
	}
	switch text {
	case "":
		return 0, 0, errors.New("an entry of the list is empty")
	case "*":
		return k.min, last, nil
	}
	lowText, highText, isRange := strings.Cut(text, "-")
	if isRange && (lowText == "" || highText == "") {
		return 0, 0, fmt.Errorf("%s is not a range: write it as %d-%d", quote(text), k.min, last)
	}
	if low, err = parseNumber(k, lowText); err != nil {
		return 0, 0, err
	}
	if !isRange {
		if stepped {
			return low, max(low, last), nil
		}
		return low, low, nil
	}
	if high, err = parseNumber(k, highText); err != nil {
		return 0, 0, err
	}
	if k.max == 7 && high == 0 && strings.EqualFold(highText, "SUN") {
		high = 7
	}
	if low > high {
		return 0, 0, fmt.Errorf("the range %s runs backwards: write %s", quote(text), quote(forwards(low, last)+between(k.min, high)))
	}
	return low, high, nil
}

// forwards returns the first part of a range that runs backwards, with a comma; nothing for a 7 that is Sunday, the first day.
func forwards(low, last int) string {
	if low > last {
		return ""
	}
	return between(low, last) + ","
}

func between(low, high int) string {
	if low == high {
		return strconv.Itoa(low)
	}
	return fmt.Sprintf("%d-%d", low, high)
}

func parseStep(k kind, text string, low, high int, star bool) (int, error) {
	step, ok := digits(text)
	switch {
	case !ok || step == 0:
		return 0, fmt.Errorf("%s is not a step: write a number from 1 on", quote(text))
	case step == 1 || step <= high-low:
		return step, nil
	case !star || k.names != "":
		return 0, fmt.Errorf("a step of %d from %d leaves the range up to %d at once: write %d without a step", step, low, high, low)
	case k.unit == 0:
		return 0, fmt.Errorf(`a step of %d is wider than the hour: write 0 for once an hour, or "@every %dm"`, step, step)
	}
	return 0, fmt.Errorf(`a step of %d is wider than the range: write %d, or "@every %dh"`, step, low, step*k.unit)
}

func parseNumber(k kind, text string) (int, error) {
	if n, ok := k.named(text); ok {
		return n, nil
	}
	n, ok := digits(text)
	switch {
	case !ok:
		return 0, errors.New(k.explain(text))
	case n < k.min || n > k.max:
		return 0, fmt.Errorf("%s is out of range: write %d to %d", text, k.min, k.max)
	}
	return n, nil
}

// named returns the number of a name, in upper or lower case.
func (k kind) named(text string) (int, bool) {
	if len(text) != 3 {
		return 0, false
	}
	i := strings.Index(k.names, strings.ToUpper(text))
	return k.min + i/3, i >= 0 && i%3 == 0
}

// digits parses a number of one to four digits.
func digits(text string) (int, bool) {
	if text == "" || len(text) > 4 || strings.Trim(text, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(text)
	return n, err == nil
}

// explain says what to write instead of a text that is not a number but may mean something to other crons.
func (k kind) explain(text string) string {
	upper := strings.ToUpper(text)
	_, longName := k.named(upper[:min(len(upper), 3)])
	switch {
	case text == "?":
		return `"?" is not supported: write "*"`
	case strings.HasPrefix(upper, "H") && k.names == "", strings.Contains(text, "~"):
		return quote(text) + " is not supported: write a number, and spread the runs with the key jitter"
	case strings.Contains(text, "#"):
		return quote(text) + " is not supported: write the day of every week, or the number of a day of the month"
	case longName && strings.Trim(upper, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == "" && len(upper) > 4:
		return fmt.Sprintf("%s is not known: write %s", quote(text), upper[:3])
	case strings.HasSuffix(upper, "L"), strings.HasSuffix(upper, "W"), strings.HasPrefix(upper, "L"):
		return quote(text) + " is not supported: write the number of a day, such as 1 or 28"
	case k.names != "":
		return fmt.Sprintf("%s is not known: write %d to %d, or a name such as %s", quote(text), k.min, k.max, k.names[3:6])
	}
	return fmt.Sprintf("%s is not a number: write %d to %d", quote(text), k.min, k.max)
}
