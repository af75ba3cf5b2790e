package azure

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// sample is one of testdata/failures/samples.json.
type sample struct {
	ID, Phase, Code, Message string
	Status                   int
	Retry                    bool
}

func samples(t *testing.T) []sample {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "failures", "samples.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Errors []sample }
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Errors) < 15 {
		t.Fatalf("only %d samples", len(file.Errors))
	}
	return file.Errors
}

// refusal is what the client would make of a sample. Codes with a question mark were not to be seen where the sample was.
func (s sample) refusal() Refusal {
	r := Refusal{Status: s.Status, Code: strings.Trim(s.Code, "?"), Message: s.Message, Polled: s.Phase == "poll", CorrelationID: "00000000-0000-0000-0000-0000000000c0"}
	if r.Status == 0 && r.Polled {
		r.Status = 400
	}
	return r
}

func TestClassifySamples(t *testing.T) {
	type verdict struct {
		Kind                    FailureCode
		Side                    string
		Temporary, Copy, Advice bool
	}
	want := map[string]verdict{
		"tag-exists":              {CodeConflict, SideTarget, false, false, true},
		"dockerhub-429":           {CodeSourceRateLimited, SideSource, true, true, true},
		"source-unauthorized":     {CodeSourceUnauthorized, SideSource, false, true, true},
		"source-forbidden":        {CodeSourceForbidden, SideSource, false, true, true},
		"target-denied":           {CodeNetworkDenied, SideTarget, false, true, true},
		"copy-blobs":              {CodeTransientCopy, SideAzure, true, true, true},
		"no-digest-header":        {CodeSourceIncompatible, SideSource, false, true, true},
		"no-manifest-digest":      {CodeSourceIncompatible, SideSource, false, true, true},
		"range":                   {CodeSourceIncompatible, SideSource, false, true, true},
		"range-status":            {CodeSourceIncompatible, SideSource, true, true, true},
		"range-length":            {CodeSourceIncompatible, SideSource, true, true, true},
		"tag-and-digest":          {CodeConfigInvalid, SideSource, false, false, true},
		"linked-auth":             {CodePermissionSource, SideSource, false, true, true},
		"not-found-means-no-read": {CodePermissionTarget, SideTarget, false, true, true},
		"stuck":                   {CodeTimeout, SideAzure, true, true, true},
	}
	var texts strings.Builder
	for _, s := range samples(t) {
		t.Run(s.ID, func(t *testing.T) {
			f := Classify(s.refusal())
			got := verdict{f.Kind, f.Side, f.Temporary(), f.CopyCures, f.Advice != ""}
			if d := cmp.Diff(want[s.ID], got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			if got.Temporary != s.Retry {
				t.Errorf("the sample says retry: %t", s.Retry)
			}
			fmt.Fprintf(&texts, "%s\n  %s, %s\n  %s\n  %s\n", s.ID, f.Code(), f.Side, f.Text, f.Advice)
		})
	}
	golden(t, filepath.Join("testdata", "failures", "samples.golden"), texts.String())
}

// classified is a refusal and what has to become of it.
type classified struct {
	name    string
	refusal Refusal
	kind    FailureCode
	side    string
	// has and lacks are parts of the error's text.
	has, lacks []string
}

func (tt classified) run(t *testing.T) {
	f := Classify(tt.refusal)
	if f.Kind != tt.kind || f.Side != tt.side {
		t.Errorf("%s at %s: %s", f.Kind, f.Side, f)
	}
	for _, want := range tt.has {
		if !strings.Contains(f.Error(), want) {
			t.Errorf("%q is not in %q", want, f.Error())
		}
	}
	for _, no := range tt.lacks {
		if strings.Contains(f.Error(), no) {
			t.Errorf("%q is in %q", no, f.Error())
		}
	}
}

func TestAdvice(t *testing.T) {
	client, scope := "11111111-2222-3333-4444-555555555555", "/subscriptions/11111111-0000-0000-0000-000000000000/resourceGroups/my(rg)/providers/Microsoft.ContainerRegistry/registries/target"
	forbidden := func(client, scope string) Refusal {
		return Refusal{Status: 403, Code: "AuthorizationFailed", Message: fmt.Sprintf("The client '%s' with object id '%s' does not have authorization to perform action "+
			"'Microsoft.ContainerRegistry/registries/importImage/action' over scope '%s' or the scope is invalid.", client, client, scope)}
	}
	tests := []classified{
		{
			name: "the role with its line", refusal: forbidden(client, scope), kind: CodePermissionTarget, side: SideTarget,
			has: []string{`az role assignment create --assignee "` + client + `" --role "Container Registry Data Importer and Data Reader" --scope "` + scope + `"`},
		},
		{
			name: "no command of somebody else's", refusal: forbidden(`$(reboot)`, `/subscriptions/1"; reboot #/registries/target`), kind: CodePermissionTarget, side: SideTarget,
			has: []string{`--assignee "<object id of dray's identity>"`, `--scope "<resource id of the registry>"`}, lacks: []string{"reboot"},
		},
		{
			name: "official images of Docker Hub", kind: CodeSourceUnauthorized, side: SideSource, has: []string{"docker.io/library/nats"},
			refusal: sourceRules()[1].example,
		},
		{
			name: "an expired token", kind: CodeSignIn, side: SideAzure, has: []string{"signs in again"},
			refusal: Refusal{Status: 401, Code: "ExpiredAuthenticationToken", Message: "The access token expiry UTC time is earlier than current UTC time"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, tt.run)
	}
}

func TestSides(t *testing.T) {
	tests := []classified{
		{
			name: "a registry with a hash is the target still", kind: CodeNetworkDenied, side: SideTarget,
			refusal: Refusal{Status: 400, Code: "InvalidParameters", Message: importEnd + "Access to target-a1b2c3.azurecr.io denied.", Polled: true},
		},
		{
			name: "the target by its login server", kind: CodeNetworkDenied, side: SideSource, has: []string{"other.azurecr.io"},
			refusal: Refusal{Status: 400, Code: "InvalidParameters", Message: "Access to other.azurecr.io denied.", Polled: true, Target: "target.azurecr.io"},
		},
		{
			name: "a status that the service invents for an end is not the request's", kind: CodeSourceForbidden, side: SideSource,
			refusal: Refusal{Status: 403, Message: importEnd + `Invalid message Forbidden Forbidden {"errors":[{"code":"DENIED","message":"no"}]}`, Polled: true},
			has:     []string{": Forbidden: DENIED: no"},
		},
		{
			name: "what a source says does not choose the side", kind: CodeSourceUnauthorized, side: SideSource,
			refusal: Refusal{Status: 400, Code: "InvalidParameters", Polled: true, Message: importEnd +
				`Invalid message Unauthorized Unauthorized {"errors":[{"code":"UNAUTHORIZED","message":"AADSTS7000215 Error copying blobs Access to target.azurecr.io denied."}]}`},
		},
		{
			name: "nor where nobody says that it was polled", kind: CodeSourceNotFound, side: SideSource,
			refusal: Refusal{Status: 404, Message: importEnd + `Invalid message NotFound Not Found {"errors":[{"code":"NAME_UNKNOWN"}]}`},
		},
		{
			name: "a source that is not well is not Azure", kind: CodeTransientCopy, side: SideSource,
			refusal: Refusal{Status: 503, Message: importEnd + `Invalid message ServiceUnavailable Service Unavailable {}`, Polled: true},
		},
		{
			name: "forbidden at the end of an import is not the role", kind: CodeNetworkDenied, side: SideTarget,
			refusal: Refusal{Status: 403, Message: "Access to target.azurecr.io denied.", Polled: true},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, tt.run)
	}
}

func TestWords(t *testing.T) {
	tests := []classified{
		{
			name: "an answer that breaks off", kind: CodeSourceUnauthorized, side: SideSource, has: []string{"Unauthorized: UNAUTHORIZED: it's private"},
			refusal: Refusal{Status: 400, Polled: true, Message: importEnd + `Invalid message Unauthorized Unauthorized {"errors":[{"code":"UNAUTHORIZED","message":"it\u0027s private","detail":[{"Type":"repo`},
		},
		{
			name: "an error within an error", kind: CodeConflict, side: SideTarget, has: []string{": Tag a:b already exists in target registry; nothing"}, lacks: []string{"Operation registries"},
			refusal: Refusal{Status: 400, Polled: true, Message: `{"error":{"code":"Conflict","message":"` + importEnd + `Tag a:b already exists in target registry."}}`},
		},
		{
			name: "the words of an old client", kind: CodeSourceIncompatible, side: SideSource, lacks: []string{"Deployment"},
			refusal: Refusal{Message: "Deployment failed. Correlation ID: e8a839fd-d26e-408f-9709-1f4ec06fdb72. " + importEnd + "Unable to find manifest digest  Repo: a/b Tag: 1 Manifest: "},
		},
		{
			name: "Entra's number goes before OAuth's code", kind: CodeSignIn, side: SideAzure, has: []string{"the client secret has expired", "az ad app credential reset"},
			refusal: Refusal{Status: 401, Code: "invalid_client", Message: `{"error":"invalid_client","error_description":"AADSTS7000222: The provided client secret keys are expired. Trace ID: 1"}`},
		},
		{
			name: "Entra's words out of azidentity's", kind: CodeSignIn, side: SideAzure,
			refusal: Refusal{Message: "ClientSecretCredential authentication failed. FAILED\nPOST https://login.microsoftonline.com/t/oauth2/v2.0/token\n-----\nRESPONSE 401: 401 Unauthorized\n-----\n" +
				`{"error":"invalid_client","error_description":"AADSTS7000218: The request body must contain client_secret. Trace ID: 1 Correlation ID: 2","error_codes":[7000218]}`},
			has: []string{"Entra refused the sign-in: AADSTS7000218: The request body must contain client_secret; look", "error?code=AADSTS7000218"}, lacks: []string{"Trace", "POST"},
		},
		{
			name: "no Azure CLI", kind: CodeSignIn, side: SideAzure, has: []string{"no credential for Azure was found: AzureCLICredential: Azure CLI not found on path"},
			refusal: Refusal{Message: "AzureCLICredential: Azure CLI not found on path"},
		},
		{
			name: "unknown", kind: CodeImportFailed, side: SideAzure,
			refusal: Refusal{Status: 418, Code: "Tea\npot", Message: "raw\r\nwords {\"of\":\"somebody\"} \x1b[31mred", CorrelationID: "c0rr-\n1d"},
			has:     []string{"status 418, code Teapot", `: raw words {"of":"somebody"} [31mred`, "(correlation id c0rr-1d)"},
		},
		{name: "nothing", kind: CodeImportFailed, side: SideAzure, has: []string{"status none, code none"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, tt.run)
	}
}

func TestRetryAfter(t *testing.T) {
	tests := []struct {
		name    string
		refusal Refusal
		want    time.Duration
	}{
		{"Azure's own, however long", Refusal{Status: 429, Code: "TooManyRequests", RetryAfter: 20 * time.Minute}, 20 * time.Minute},
		{"a source's limit takes longer than Azure says", Refusal{Code: invalidParameters, Message: "StatusCode: 429", RetryAfter: 10 * time.Second, Polled: true}, sourcePause},
		{"none", Refusal{Status: 500}, 0},
		{"no time in the past", Refusal{Status: 429, RetryAfter: -time.Second}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if f := Classify(tt.refusal); f.RetryAfter != tt.want {
				t.Errorf("%v of %s, not %v", f.RetryAfter, f.Kind, tt.want)
			}
		})
	}
}

// TestFailureIsAnError holds it to the interfaces by which reports and retries know errors.
func TestFailureIsAnError(t *testing.T) {
	err := fmt.Errorf("import: %w", Classify(Refusal{Status: 503, CorrelationID: "1"}))
	f, ok := errors.AsType[interface {
		error
		Code() string
		Temporary() bool
	}](err)
	if !ok || f.Code() != "throttled" || !f.Temporary() {
		t.Errorf("%v", err)
	}
}
