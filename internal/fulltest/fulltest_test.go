package fulltest

import "testing"

func TestRounds(t *testing.T) {
	for _, tt := range []struct {
		full, asked string
		want        uint64
	}{{"", "", 20}, {"1", "", 100}, {"", "7", 7}, {"1", "7", 7}, {"0", "x", 20}} {
		t.Setenv(variable, tt.full)
		t.Setenv("DRAY_TEST_ROUNDS", tt.asked)
		want := tt.want
		if want == 100 && withRaceDetector {
			want = 20
		}
		if want == 20 && testing.Short() {
			want = 4
		}
		if got := Rounds(20, 100); got != want {
			t.Errorf("%+v: got %d", tt, got)
		}
	}
}

// TestProgram: a program that is installed is not started without the switch, and one that is missing is a failure with it.
func TestProgram(t *testing.T) {
	t.Setenv(variable, "")
	if r := call(func(tb testing.TB) { Program(tb, "sh", "a shell") }); !r.skipped || r.failed {
		t.Errorf("%+v, want a skip", r)
	}
	t.Setenv(variable, "1")
	if r := call(func(tb testing.TB) { Program(tb, "sh", "a shell") }); r.skipped || r.failed {
		t.Errorf("%+v, want neither", r)
	}
	if r := call(func(tb testing.TB) { Program(tb, "no-such-program", "it") }); r.skipped || !r.failed {
		t.Errorf("%+v, want a failure", r)
	}
}

// recorder notes how a test ends.
type recorder struct {
	testing.TB
	skipped, failed bool
}

func (r *recorder) Helper()               {}
func (r *recorder) Skip(...any)           { r.skipped = true; panic(r) }
func (r *recorder) Fatalf(string, ...any) { r.failed = true; panic(r) }

func call(test func(testing.TB)) *recorder {
	r := &recorder{}
	func() {
		defer func() { _ = recover() }()
		test(r)
	}()
	return r
}
