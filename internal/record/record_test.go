package record_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/draysync/dray/internal/record"
)

func TestCause(t *testing.T) {
	for _, tt := range []struct {
		cause record.Cause
		want  string
	}{
		{record.Cause{Error: "it broke", Count: 1, References: []string{"a"}}, "it broke"},
		{record.Cause{Error: "it broke", Count: 2, References: []string{"a", "b"}}, "it broke; 2 times, such as for a and b"},
		{record.Cause{Error: "it broke", Count: 40, References: []string{"a", "b", "c"}}, "it broke; 40 times, such as for a, b and c"},
		{record.Cause{Error: "it broke", Count: 2, References: []string{"a"}}, "it broke; 2 times, such as for a"},
		{record.Cause{Error: "it broke", Count: 2}, "it broke; 2 times"}, // of an API that names none
	} {
		if got := tt.cause.String(); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.cause, got, tt.want)
		}
	}
}

func TestCountsResult(t *testing.T) {
	for _, tt := range []struct {
		counts record.Counts
		want   record.Result
	}{
		{record.Counts{}, record.RunOK},
		{record.Counts{Keep: 3, Import: 1, Refuse: 1}, record.RunOK},
		{record.Counts{Keep: 3, Failed: 1}, record.RunPartly},
		{record.Counts{Import: 1, Failed: 1, Deferred: 1}, record.RunPartly},
		{record.Counts{Failed: 1, Deferred: 1}, record.RunFailed},
		{record.Counts{Import: 1, Deferred: 1}, record.RunDeferred},
	} {
		if got := tt.counts.Result(); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.counts, got, tt.want)
		}
	}
}

// coded is an error with a code.
type coded struct{ error }

func (coded) Code() string { return "http-500" }

func TestCode(t *testing.T) {
	plain := errors.New("plain")
	for err, want := range map[error]string{nil: "", plain: "", coded{plain}: "http-500", fmt.Errorf("more: %w", coded{plain}): "http-500"} {
		if got := record.Code(err); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
}

// Text keeps what is short, and cuts what is long where a character ends.
func TestText(t *testing.T) {
	if got := record.Text("ä\xffb"); got != "äb" {
		t.Errorf("%q", got)
	}
	for n := range 4 {
		got := record.Text(strings.Repeat("x", n) + strings.Repeat("ä", 5000))
		if len(got) > 4096 || len(got) < 4090 || !utf8.ValidString(got) || !strings.HasSuffix(got, "ä…") {
			t.Errorf("%d bytes, ending in %q", len(got), got[len(got)-8:])
		}
	}
}
