package web

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestOpenAPIIsCurrent(t *testing.T) {
	for path, want := range map[string]string{"assets/openapi.json": string(openAPIDocument(t)), "../../docs/api.md": reference()} {
		if *update {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil { //nolint:gosec // it is to be read by all
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, string(got)); d != "" {
			t.Errorf("run go generate ./internal/web (-want +got):\n%s", d)
		}
	}
}

// TestOpenAPIHasEachRoute: what the document names answers, by that method and no other, and each route is in it but for those of the pages.
func TestOpenAPIHasEachRoute(t *testing.T) {
	s := &Server{options: Options{Metrics: http.NotFoundHandler()}}
	documented := map[string]bool{}
	for _, o := range operations() {
		documented[o.path] = true
		e, found := s.find(&url.URL{Path: strings.NewReplacer("{job}", "library/alpine", "{id}", "PLAN1").Replace(o.path)})
		if !found || !slices.Contains(e.methods(), strings.ToUpper(o.method)) {
			t.Errorf("%s %s: found %t, methods %q", o.method, o.path, found, e.methods())
		}
	}
	for _, path := range routes(t) {
		if !documented[path] {
			t.Errorf("%s is not in the document", path)
		}
	}
}

// routes returns the paths that are in the source of find, but for those of the pages.
func routes(t *testing.T) (paths []string) {
	t.Helper()
	file, err := parser.ParseFile(gotoken.NewFileSet(), "route.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	text := func(e ast.Expr) string {
		if literal, ok := e.(*ast.BasicLit); ok {
			s, _ := strconv.Unquote(literal.Value)
			return s
		}
		return ""
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CaseClause:
			for _, e := range n.List {
				if p := text(e); strings.HasPrefix(p, "/api/") || strings.HasPrefix(p, "/-/") || strings.HasSuffix(p, "z") || p == "/metrics" {
					paths = append(paths, p)
				}
			}
		case *ast.KeyValueExpr:
			if action := text(n.Key); action != "" {
				paths = append(paths, "/api/v1/jobs/{job}/"+action)
			}
		}
		return true
	})
	if len(paths) < 12 {
		t.Fatalf("found only %q", paths)
	}
	return paths
}

// TestAnswersAreAsDocumented asks for each of the documents, and checks them by their schemas.
func TestAnswersAreAsDocumented(t *testing.T) {
	address := start(t, Options{Daemon: fullDaemon()})
	var document struct {
		Paths map[string]map[string]struct {
			Responses map[string]struct {
				Content map[string]struct{ Schema map[string]any }
			}
		}
		Components struct{ Schemas map[string]map[string]any }
	}
	_, body := ask(t, http.MethodGet, "http://"+address+"/api/v1/openapi.json", nil)
	if err := json.Unmarshal([]byte(body), &document); err != nil {
		t.Fatal(err)
	}
	c := checker{schemas: document.Components.Schemas}
	for _, q := range []struct{ method, path, documented string }{
		{"GET", "/api/v1/status", "/api/v1/status"}, {"GET", "/api/v1/jobs", "/api/v1/jobs"}, {"GET", "/api/v1/history", "/api/v1/history"},
		{"GET", "/api/v1/history?limit=0", "/api/v1/history"}, {"POST", "/api/v1/jobs/alpine/sync", "/api/v1/jobs/{job}/sync"},
		{"POST", "/api/v1/jobs/none/sync", "/api/v1/jobs/{job}/sync"}, {"POST", "/api/v1/jobs/alpine/pause?reason=x", "/api/v1/jobs/{job}/pause"},
		{"POST", "/api/v1/jobs/alpine/resume", "/api/v1/jobs/{job}/resume"}, {"POST", "/api/v1/pause", "/api/v1/pause"}, {"POST", "/api/v1/resume", "/api/v1/resume"},
		{"POST", "/-/reload", "/-/reload"}, {"POST", "/api/v1/jobs/alpine/plan", "/api/v1/jobs/{job}/plan"}, {"POST", "/api/v1/jobs/none/plan", "/api/v1/jobs/{job}/plan"},
		{"GET", "/api/v1/plans/PLAN1", "/api/v1/plans/{id}"}, {"GET", "/api/v1/plans/PLAN9", "/api/v1/plans/{id}"}, {"GET", "/api/v1/plans/PLAN1?limit=1001", "/api/v1/plans/{id}"},
		{"POST", "/api/v1/plans/PLAN1/approve", "/api/v1/plans/{id}/approve"}, {"POST", "/api/v1/plans/STALE/approve", "/api/v1/plans/{id}/approve"}, {"POST", "/api/v1/plans/PLAN9/approve", "/api/v1/plans/{id}/approve"},
		{"POST", "/api/v1/plans/PLAN1/approve?by=" + strings.Repeat("x", 201), "/api/v1/plans/{id}/approve"}, {"GET", "/healthz", "/healthz"}, {"GET", "/readyz", "/readyz"},
	} {
		response, body := ask(t, q.method, "http://"+address+q.path, nil)
		kind, _, _ := strings.Cut(response.Header.Get("Content-Type"), ";")
		answer, known := document.Paths[q.documented][strings.ToLower(q.method)].Responses[strconv.Itoa(response.StatusCode)]
		schema, has := answer.Content[kind]
		if !known || !has {
			t.Errorf("%s %s answers %d with %s, which is not documented", q.method, q.path, response.StatusCode, kind)
			continue
		}
		if kind != typeJSON {
			continue
		}
		var value any
		if err := json.Unmarshal([]byte(body), &value); err != nil {
			t.Fatal(err)
		}
		if err := c.check(schema.Schema, value); err != nil {
			t.Errorf("%s %s: %v", q.method, q.path, err)
		}
	}
	status := c.schemas["Snapshot"]
	for name, wrong := range map[string]any{"no object": "x", "nothing": map[string]any{}, "of another type": map[string]any{"version": "1"}} {
		if c.check(status, wrong) == nil {
			t.Errorf("%s passes for a status", name)
		}
	}
}

// checker checks values by the schemas that openAPIDocument makes: no key may be missing that is required, and none be there that is not named.
type checker struct{ schemas map[string]map[string]any }

func (c checker) check(schema map[string]any, value any) error {
	if ref, ok := schema["$ref"].(string); ok {
		return c.check(c.schemas[ref[strings.LastIndexByte(ref, '/')+1:]], value)
	}
	if choices, ok := schema["anyOf"].([]any); ok {
		var err error
		for _, choice := range choices {
			if err = c.check(choice.(map[string]any), value); err == nil {
				return nil
			}
		}
		return err
	}
	switch v := value.(type) {
	case map[string]any:
		return c.object(schema, v)
	case []any:
		items, _ := schema["items"].(map[string]any)
		for i, one := range v {
			if err := c.check(items, one); err != nil {
				return fmt.Errorf("[%d]: %w", i, err)
			}
		}
		return is(schema, "array")
	case string:
		if _, err := time.Parse(time.RFC3339, v); schema["format"] == "date-time" && err != nil {
			return err
		}
		return is(schema, "string")
	case float64:
		if v == float64(int64(v)) && is(schema, "integer") == nil {
			return nil
		}
		return is(schema, "number")
	case bool:
		return is(schema, "boolean")
	}
	return is(schema, "null")
}

func is(schema map[string]any, kind string) error {
	if schema["type"] != kind {
		return fmt.Errorf("it is of type %s, and documented as %v", kind, schema["type"])
	}
	return nil
}

func (c checker) object(schema, value map[string]any) error {
	if err := is(schema, "object"); err != nil {
		return err
	}
	properties, named := schema["properties"].(map[string]any)
	of, all := schema["additionalProperties"].(map[string]any)
	required, _ := schema["required"].([]any)
	for _, key := range required {
		if _, ok := value[key.(string)]; !ok {
			return fmt.Errorf("%s is missing", key)
		}
	}
	for key, v := range value {
		s, ok := properties[key].(map[string]any)
		switch {
		case !ok && all:
			s = of
		case !ok && named:
			return fmt.Errorf("%s is not documented", key)
		case !ok:
			continue
		}
		if err := c.check(s, v); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}
