package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"net/http"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/draysync/dray/internal/record"
)

// operation is what one method of a path does. It is part of the tests and so not of the program: `go generate ./internal/web` writes the
// document that the program serves.
type operation struct {
	method, path, id, summary string
	// more says what the summary does not.
	more    string
	query   []parameter
	answers []reply
}

// parameter is one of the query.
type parameter struct {
	name, description string
	schema            map[string]any
}

// reply is an answer: a document, or text where that is nil.
type reply struct {
	status      int
	description string
	document    any
}

var (
	word       = map[string]any{"type": "string"}
	unwell     = reply{http.StatusServiceUnavailable, "The daemon cannot answer now, or too many ask at once.", failure{}}
	noSuchPlan = reply{http.StatusNotFound, "There is no such plan here (any more).", failure{}}
	unknown    = reply{http.StatusNotFound, "There is no job of this name; `nearest` may be meant.", failure{}}
	askedBy    = parameter{"by", "Who asks, as they say of themselves: at most 200 bytes, for the log and the status.", word}
	mayNot     = []reply{{http.StatusUnauthorized, "The token is missing or wrong.", failure{}}, {http.StatusForbidden, "The request comes from another site's page, or the server has no token and can be reached from the network.", failure{}}, unwell}
	badQuery   = reply{http.StatusBadRequest, "A parameter is too long, or no such number.", failure{}}
)

func operations() []operation {
	pausing := func(path, id, summary, more string, of ...reply) []operation {
		answers := append([]reply{{http.StatusOK, "What holds now.", Paused{}}, badQuery}, append(of, mayNot...)...)
		return []operation{
			{"post", path + "/pause", "pause" + id, "Pause " + summary, more, []parameter{{"reason", "Why: at most 1000 bytes, shown until the end of the pause.", word}, askedBy}, answers},
			{"post", path + "/resume", "resume" + id, "Resume " + summary, "What came due meanwhile runs now.", []parameter{askedBy}, answers},
		}
	}
	list := []operation{
		{"get", "/api/v1/status", "status", "What the daemon does, waits for and last did", "The jobs come last.", nil, []reply{{http.StatusOK, "The state of the daemon.", record.Snapshot{}}, unwell}},
		{"get", "/api/v1/jobs", "jobs", "The jobs", "", nil, []reply{{http.StatusOK, "All jobs, sorted by name.", Jobs{}}, unwell}},
		{"get", "/api/v1/history", "history", "Runs that have ended, the newest first", "", []parameter{
			{"job", "The name of a job; all jobs without it.", word},
			{"limit", fmt.Sprintf("How many runs, %d without it.", defaultRuns), map[string]any{"type": "integer", "minimum": 1, "maximum": MaxRuns}},
		}, []reply{{http.StatusOK, "The runs.", History{}}, badQuery, unwell}},
		{"get", "/api/v1/openapi.json", "openapi", "This document", "", nil, []reply{{http.StatusOK, "OpenAPI 3.1.", map[string]any{}}}},
		{"post", "/api/v1/jobs/{job}/sync", "sync", "Have a job run now", "It does not wait for the run. A run that is under way goes on, and another one follows.", []parameter{
			{"tag", "A tag of the source, several times for several: the run looks at these only.", map[string]any{"type": "array", "items": word}},
		}, append([]reply{{http.StatusAccepted, "The job runs as soon as it can.", accepted{}}, unknown, {http.StatusUnprocessableEntity, "The job does not choose such a tag, or is paused and the request names tags.", failure{}}}, mayNot...)},
		{"post", "/api/v1/jobs/{job}/plan", "plan", "Have a plan of a job made", "It changes nothing, and does not wait for the plan. A few plans are kept for an hour, by the process that was asked.", []parameter{askedBy}, append([]reply{
			{http.StatusAccepted, "The plan is being made; its `id` is that of `/api/v1/plans/{id}`.", Plan{}}, badQuery, unknown,
		}, mayNot...)},
		{"get", "/api/v1/plans/{id}", "planStatus", "A plan, with some of its actions", "", []parameter{
			{"from", "How many actions to leave out, 0 without it.", map[string]any{"type": "integer", "minimum": 0}},
			{"limit", fmt.Sprintf("How many actions, %d without it.", pagePlan), map[string]any{"type": "integer", "minimum": 0, "maximum": MaxPlanPage}},
		}, []reply{{http.StatusOK, "The plan.", Plan{}}, badQuery, noSuchPlan, unwell}},
		{"post", "/api/v1/plans/{id}/approve", "approve", "Have exactly the imports of a plan made", "Each is made from the digest and over the digest that were planned; what is no longer so is refused, as the history then says.", []parameter{askedBy}, append([]reply{
			{http.StatusAccepted, "The imports are being made.", Plan{}}, badQuery, noSuchPlan,
			{http.StatusConflict, "The plan does not hold: its job has changed, it was approved before, has nothing to import or is not made; or replicas share the jobs.", failure{}},
		}, mayNot...)},
		{"post", "/-/reload", "reload", "Read the config anew", "The answer comes when it runs.", nil, append([]reply{
			{http.StatusOK, "The config runs.", rejection{}}, {http.StatusUnprocessableEntity, "The config, or some of its files, has mistakes: one line each. What has them runs on as it was.", rejection{}},
		}, mayNot...)},
		{"get", "/healthz", "health", "Whether the daemon is alive", "", nil, []reply{{http.StatusOK, "It is.", nil}, {http.StatusServiceUnavailable, "Its loop hangs.", nil}}},
		{"get", "/readyz", "readiness", "Whether the daemon can do its work", "", nil, []reply{{http.StatusOK, "It can.", nil}, {http.StatusServiceUnavailable, "What is wrong, a line each.", nil}}},
		{"get", "/metrics", "metrics", "Metrics for Prometheus", "", nil, []reply{{http.StatusOK, "Prometheus' text format.", nil}}},
	}
	list = append(list, pausing("/api/v1", "All", "all jobs", "New jobs too begin no run by themselves. Runs under way go on.")...)
	return append(list, pausing("/api/v1/jobs/{job}", "", "a job", "It begins no run by itself. A run under way goes on.", unknown)...)
}

// reference is the page about the API in the docs.
func reference() string {
	var b strings.Builder
	b.WriteString(`# The HTTP API

` + "`dray run`" + ` answers at ` + "`server.listen`" + ` (default ` + "`127.0.0.1:8484`" + `). [internal/web/assets/openapi.json](../internal/web/assets/openapi.json)
describes each answer in OpenAPI 3.1; the daemon serves it at ` + "`/api/v1/openapi.json`" + `, for programs that make clients. ` + "`version`" + ` in a document is raised
by a change that breaks programs; new keys do not raise it. Times are in UTC and in RFC 3339, and absent where there is none.

POST needs ` + "`server.token`" + ` where one is set, and is refused without one from elsewhere than the loopback and the socket ([security.md](security.md)):

` + "```sh" + `
curl -X POST -H "Authorization: Bearer $TOKEN" http://127.0.0.1:8484/api/v1/jobs/alpine/sync
` + "```" + `

An error is ` + "`{\"error\": \"…\"}`" + `. Without the right token, POST is answered with 401, and with 403 where it comes from another site's page or no token is set.
503, with Retry-After, says that the daemon cannot answer now, or that too many ask at once.

| request | what it does | parameters | answers |
|---|---|---|---|
`)
	for _, o := range operations() {
		var parameters, answers []string
		for _, p := range o.query {
			parameters = append(parameters, "`"+p.name+"`: "+p.description)
		}
		for _, a := range o.answers {
			if a.status == http.StatusUnauthorized || a.status == http.StatusForbidden || a.description == unwell.description {
				continue
			}
			answers = append(answers, strconv.Itoa(a.status)+": "+a.description)
		}
		fmt.Fprintf(&b, "| `%s %s` | %s | %s | %s |\n", strings.ToUpper(o.method), o.path, strings.TrimSpace(o.summary+". "+o.more), strings.Join(parameters, "<br>"), strings.Join(answers, "<br>"))
	}
	b.WriteString("\nPOST of events to `/hook/…`: [receivers.md](receivers.md). All else is the status page ([operations.md](operations.md)).\n")
	return b.String()
}

// document makes the OpenAPI document.
type document struct {
	comments map[string]string // by type and field: "Run.Trigger"
	schemas  map[string]any
}

func openAPIDocument(t *testing.T) []byte {
	t.Helper()
	d := &document{comments: map[string]string{}, schemas: map[string]any{}}
	for _, folder := range []string{".", "../record"} {
		d.readComments(t, folder)
	}
	paths := map[string]map[string]any{}
	for _, o := range operations() {
		if paths[o.path] == nil {
			paths[o.path] = map[string]any{}
		}
		paths[o.path][o.method] = d.operation(o)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(map[string]any{
		"openapi": "3.1.0",
		"info": map[string]any{
			"title": "dray", "version": strconv.Itoa(documentVersion),
			"description": "The HTTP API of `dray run`, at `server.listen`. Times are in UTC and in RFC 3339, and absent where there is none. A change that breaks programs " +
				"raises `version` in the documents; new keys do not. POST needs `server.token` as a bearer token where one is set, and is refused " +
				"without one from elsewhere than the loopback and the socket.",
		},
		"paths": paths,
		"components": map[string]any{
			"schemas":         d.schemas,
			"securitySchemes": map[string]any{"token": map[string]any{"type": "http", "scheme": "bearer", "description": "What `server.token` has."}},
		},
	}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func (d *document) operation(o operation) map[string]any {
	answers := map[string]any{}
	for _, a := range o.answers {
		content := map[string]any{"text/plain": map[string]any{"schema": word}}
		if a.document != nil {
			content = map[string]any{typeJSON: map[string]any{"schema": d.schema(reflect.TypeOf(a.document))}}
		}
		answers[strconv.Itoa(a.status)] = map[string]any{"description": a.description, "content": content}
	}
	result := map[string]any{"operationId": o.id, "summary": o.summary, "responses": answers}
	if o.more != "" {
		result["description"] = o.more
	}
	var parameters []any
	if strings.Contains(o.path, "{job}") {
		parameters = append(parameters, map[string]any{"name": "job", "in": "path", "required": true, "description": "The name of the job; a slash in it may be escaped or not.", "schema": word})
	}
	if strings.Contains(o.path, "{id}") {
		parameters = append(parameters, map[string]any{"name": "id", "in": "path", "required": true, "description": "What the plan is called.", "schema": word})
	}
	for _, p := range o.query {
		parameters = append(parameters, map[string]any{"name": p.name, "in": "query", "description": p.description, "schema": p.schema})
	}
	if parameters != nil {
		result["parameters"] = parameters
	}
	if o.method == "post" {
		result["security"] = []any{map[string]any{"token": []string{}}, map[string]any{}}
	}
	return result
}

// schema returns what describes values of a type. Those of structs stand among the schemas, under their names.
func (d *document) schema(of reflect.Type) map[string]any {
	switch of {
	case reflect.TypeFor[time.Time]():
		return map[string]any{"type": "string", "format": "date-time"}
	case reflect.TypeFor[record.Seconds]():
		return map[string]any{"type": "number"}
	}
	switch of.Kind() {
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return map[string]any{"type": "integer"}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": d.schema(of.Elem())}
	case reflect.Map:
		if of.Elem().Kind() == reflect.Interface {
			return map[string]any{"type": "object"}
		}
		return map[string]any{"type": "object", "additionalProperties": d.schema(of.Elem())}
	case reflect.Pointer:
		return map[string]any{"anyOf": []any{d.schema(of.Elem()), map[string]any{"type": "null"}}}
	case reflect.Struct:
		name := strings.ToUpper(of.Name()[:1]) + of.Name()[1:]
		if _, known := d.schemas[name]; !known {
			d.schemas[name] = nil // while it is made
			properties, required := map[string]any{}, []string{}
			d.properties(of, properties, &required)
			slices.Sort(required)
			made := map[string]any{"type": "object", "properties": properties, "required": required}
			if text := d.comments[of.Name()]; text != "" {
				made["description"] = text
			}
			d.schemas[name] = made
		}
		return map[string]any{"$ref": "#/components/schemas/" + name}
	default:
		panic(fmt.Sprint("no schema for ", of))
	}
}

func (d *document) properties(of reflect.Type, properties map[string]any, required *[]string) {
	for i := range of.NumField() {
		f := of.Field(i)
		tag, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && tag == "":
			d.properties(f.Type, properties, required)
			continue
		case tag == "-" || !f.IsExported():
			continue
		}
		typ := f.Type
		if typ.Kind() == reflect.Pointer && options == "omitempty" {
			typ = typ.Elem() // it is never null
		}
		s := d.schema(typ)
		text := withKeys(of, d.comments[of.Name()+"."+f.Name])
		if names := valuesOf(f.Type); names != "" {
			text = strings.TrimSpace(text + " One of " + names + ".")
		}
		if text != "" {
			s["description"] = text
		}
		properties[tag] = s
		if options == "" {
			*required = append(*required, tag)
		}
	}
}

// withKeys has the keys of the document in a comment for the fields of a type.
func withKeys(of reflect.Type, text string) string {
	for i := range of.NumField() {
		key, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
		if key != "" && key != "-" {
			text = regexp.MustCompile(`\b`+of.Field(i).Name+`\b`).ReplaceAllString(text, "`"+key+"`")
		}
	}
	return text
}

// valuesOf lists the values of a type of words.
func valuesOf(of reflect.Type) string {
	switch of {
	case reflect.TypeFor[record.Status]():
		return listed(record.Statuses()...)
	case reflect.TypeFor[record.Result]():
		return listed(record.RunOK, record.RunFailed, record.RunPartly, record.RunDeferred, record.RunCutOff)
	case reflect.TypeFor[record.Trigger]():
		return listed(record.First, record.Scheduled, record.Retried, record.Asked, record.Event, record.Approved)
	case reflect.TypeFor[record.PlanState]():
		return listed(record.PlanUnderWay, record.PlanMade, record.PlanFailed, record.PlanApproved)
	case reflect.TypeFor[record.Activity]():
		return listed(record.JobRunning, record.JobWaiting, record.JobScheduled, record.JobDeferred, record.JobIdle, record.JobPaused)
	}
	return ""
}

func listed[T ~string](all ...T) string {
	var list []string
	for _, one := range all {
		list = append(list, "`"+string(one)+"`")
	}
	return strings.Join(list, ", ")
}

// readComments reads the comments of the types and fields in a folder.
func (d *document) readComments(t *testing.T, folder string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(gotoken.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			decl, ok := n.(*ast.GenDecl)
			if !ok || decl.Tok != gotoken.TYPE {
				return true
			}
			for _, spec := range decl.Specs {
				typ := spec.(*ast.TypeSpec)
				d.comments[typ.Name.Name] = oneLine(decl.Doc)
				if s, ok := typ.Type.(*ast.StructType); ok {
					for _, f := range s.Fields.List {
						for _, name := range f.Names {
							d.comments[typ.Name.Name+"."+name.Name] = oneLine(f.Doc)
						}
					}
				}
			}
			return true
		})
	}
}

func oneLine(g *ast.CommentGroup) string { return strings.Join(strings.Fields(g.Text()), " ") }
