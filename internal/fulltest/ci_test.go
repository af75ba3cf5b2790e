package fulltest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestCIPlaysAllRounds: what the race detector shortens or .ci/run leaves out with it, .ci/run runs once more without.
func TestCIPlaysAllRounds(t *testing.T) {
	script, err := os.ReadFile("../../.ci/run")
	if err != nil {
		t.Fatal(err)
	}
	chosen := map[string]*regexp.Regexp{}
	for _, list := range []string{"processes", "rounds", "replicas"} {
		var text string
		for _, part := range regexp.MustCompile(`(?m)^`+list+`\+?='(.*)'$`).FindAllSubmatch(script, -1) {
			text += string(part[1])
		}
		chosen[list] = regexp.MustCompile(text)
	}
	again := regexp.MustCompile(`\./internal/\{(.*)\}`).FindSubmatch(script)
	packages := append(strings.Split(string(again[1]), ","), "deploy", "realworld", "postgrestest")
	seen := map[string]int{}
	for name, shortened := range testsOf(t) {
		dir, test, _ := strings.Cut(name, " ")
		left := chosen["processes"].MatchString(test)
		if !left && !shortened {
			continue
		}
		if !left && !chosen["rounds"].MatchString(test) && !chosen["replicas"].MatchString(test) {
			t.Errorf("%s of %s does more without the race detector, and .ci/run does not run it so", test, dir)
		}
		if room, ok := strings.CutPrefix(dir, "internal/"); ok && !slices.Contains(packages, room) {
			t.Errorf("%s of %s is not run without the race detector: .ci/run does not name its package there", test, dir)
		}
		seen[dir]++
	}
	if len(seen) < 8 || seen["cmd/dray"] < 15 {
		t.Errorf("hardly any tests were found: %v", seen)
	}
}

// testsOf returns the tests of the module as "directory name", and whether each has more rounds where AllRounds says so, or leaves something out
// with the race detector.
func testsOf(t *testing.T) map[string]bool {
	t.Helper()
	files, err := filepath.Glob("../../internal/*/*_test.go")
	more, errOfCmd := filepath.Glob("../../cmd/*/*_test.go")
	deep, errOfDeep := filepath.Glob("../../cmd/*/internal/*/*_test.go")
	if err != nil || errOfCmd != nil || errOfDeep != nil {
		t.Fatal(err, errOfCmd, errOfDeep)
	}
	tests := map[string]bool{}
	for _, path := range slices.Concat(files, more, deep) {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && strings.HasPrefix(f.Name.Name, "Test") && f.Recv == nil {
				tests[strings.TrimPrefix(filepath.Dir(path), "../../")+" "+f.Name.Name] = isShortened(f)
			}
		}
	}
	return tests
}

func isShortened(f *ast.FuncDecl) (shortened bool) {
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Ident:
			shortened = shortened || n.Name == "raceDetector"
		case *ast.CallExpr:
			switch types.ExprString(n.Fun) {
			case "fulltest.AllRounds", "timed":
				shortened = true
			case "fulltest.Rounds":
				shortened = shortened || types.ExprString(n.Args[0]) != types.ExprString(n.Args[1])
			}
		}
		return true
	})
	return shortened
}
