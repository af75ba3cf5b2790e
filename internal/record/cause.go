package record

import (
	"errors"
	"fmt"
	"strings"
)

// Cause is the reason of one or more failures.
type Cause struct {
	// Error is the error; of several, what their errors have in common.
	Error string `json:"error"`
	// Code is its short stable word; may be empty.
	Code string `json:"code"`
	// Count is the number of imports, or jobs, that it made fail.
	Count int `json:"count"`
	// Job is the only affected job; empty for several.
	Job string `json:"job"`
	// References are up to three of the images at the target, or of the jobs if whole jobs failed.
	References []string `json:"references"`
}

// String returns it on one line.
func (c Cause) String() string {
	if c.Count == 1 {
		return c.Error
	}
	text := fmt.Sprintf("%s; %d times", c.Error, c.Count)
	switch last := len(c.References) - 1; {
	case last > 0:
		text += fmt.Sprintf(", such as for %s and %s", strings.Join(c.References[:last], ", "), c.References[last])
	case last == 0:
		text += ", such as for " + c.References[0]
	}
	return text
}

// Code returns the code of an error, a short stable word; empty if it has none.
func Code(err error) string {
	var e interface {
		error
		Code() string
	}
	if errors.As(err, &e) {
		return e.Code()
	}
	return ""
}

// maxText limits a text, in bytes.
const maxText = 4096

// Text shortens a text to 4 KiB, without cutting a character in half.
func Text(text string) string {
	if len(text) > maxText {
		text = text[:maxText-len("…")] + "…"
	}
	return strings.ToValidUTF8(text, "")
}
