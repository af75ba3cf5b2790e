package azure

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)

// SignInError says why Azure issued no token, or none that it accepts. Its text is one line without secrets.
type SignInError struct {
	// Kind is the kind of the credential.
	Kind string
	// Number is Entra's code, such as AADSTS7000215; empty if Entra did not answer.
	Number string
	// Failure has the text, the advice, and whether to try again.
	Failure Failure
}

// Error returns what happened and what to do about it.
func (e *SignInError) Error() string {
	return "sign in to Azure with " + e.Kind + ": " + e.Failure.Error()
}

// Code is azure-sign-in.
func (e *SignInError) Code() string { return string(CodeSignIn) }

// Hint returns what the user can do about it.
func (e *SignInError) Hint() string { return e.Failure.Advice }

// Temporary reports whether the same sign-in may succeed later without anyone's intervention.
func (e *SignInError) Temporary() bool { return e.Failure.Again }

// skewed is the tolerated difference between clocks: Entra allows five minutes.
const skewed = 5 * time.Minute

// signInError condenses azidentity's long errors to one line.
func signInError(c Credential, err error, t *trip) *SignInError {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := &SignInError{Kind: c.kind()}
	failed, isFailed := errors.AsType[*azidentity.AuthenticationFailedError](err)
	_, isFinal := errors.AsType[interface {
		error
		NonRetriable()
	}](err)
	switch {
	case isFailed && failed.RawResponse != nil:
		e.refused(failed.RawResponse)
	case t.err != nil:
		e.Failure = Failure{
			Text: "Entra cannot be reached: " + oneLine(withoutURL(t.err).Error()), Again: true,
			Advice: "check this machine's network, proxy and CA certificates, and azure.cloud",
		}
	case t.lost != nil:
		e.Failure = Failure{
			Text: "the metadata service of this machine does not answer: " + oneLine(t.lost.Error()), Again: true,
			Advice: "run dray on a machine of Azure that has a managed identity and, in a container, where it reaches that address; elsewhere set azure.credential to another kind",
		}
	case isFinal && !isFailed:
		e.Failure = unavailable(c, plain(err))
	default:
		e.judge(Refusal{Message: plain(err)}, "the credential cannot be used: "+oneLine(plain(err)))
	}
	if late := t.skew.Round(time.Minute); late > skewed || late < -skewed {
		e.Failure.Text += fmt.Sprintf("; this machine's clock is %s Entra's", offBy(late))
	}
	e.Failure.Kind, e.Failure.Side, e.Failure.CopyCures = CodeSignIn, SideAzure, true
	return e
}

func offBy(ahead time.Duration) string {
	if ahead < 0 {
		return strings.TrimSuffix((-ahead).String(), "0s") + " ahead of"
	}
	return strings.TrimSuffix(ahead.String(), "0s") + " behind"
}

// refused interprets an error answer of Entra or of the metadata service.
func (e *SignInError) refused(response *http.Response) {
	body, err := runtime.Payload(response)
	if err != nil {
		body = nil
	}
	text := fmt.Sprintf("the sign-in failed with status %d", response.StatusCode)
	e.judge(Refusal{Status: response.StatusCode, Message: string(body), CorrelationID: response.Header.Get("X-Ms-Request-Id"), RetryAfter: retryAfter(response.Header)}, text)
	if response.StatusCode == http.StatusTooManyRequests || response.StatusCode >= 500 {
		e.Failure.Again, e.Failure.Advice = true, "dray tries again"
		e.Failure.RetryAfter = max(e.Failure.RetryAfter, retryAfter(response.Header))
	}
}

// judge looks up Entra's code in the table of failures; without a code it uses the text.
func (e *SignInError) judge(r Refusal, text string) {
	e.Number = signInCode.FindString(r.Message)
	if e.Number == "" {
		e.Failure = Failure{Text: text, Advice: "check azure.credential and azure.cloud", CorrelationID: identifier(r.CorrelationID)}
		return
	}
	// Status and code would be mistaken for those of Resource Manager.
	e.Failure = Classify(Refusal{Status: http.StatusUnauthorized, Message: r.Message, CorrelationID: r.CorrelationID, RetryAfter: r.RetryAfter})
}

// unavailable returns the failure for a credential that this machine does not have.
func unavailable(c Credential, text string) Failure {
	switch c.kind() {
	case KindDefault:
		return Failure{
			Text: "this machine has no Azure credential: none in the environment, no workload identity, no managed identity, and no user is signed in with az, azd or PowerShell",
			Advice: "set azure.credential to one of workload-identity, managed-identity, client-secret, client-certificate; " +
				"or set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET; or run az login",
		}
	case KindManagedIdentity:
		return Failure{
			Text:   "this machine has no such managed identity",
			Advice: "assign the identity to the machine, or check azure.credential.clientID: az vm identity show",
		}
	case KindAzureCLI:
		return Failure{Text: "Azure CLI has no token: " + oneLine(text), Advice: "install az and run az login as the user that runs dray; for a daemon use an identity of its own"}
	}
	return Failure{Text: "the credential does not exist: " + oneLine(text), Advice: "check azure.credential"}
}

// unusable returns the error for a credential that cannot be built.
func unusable(c Credential, err error) *SignInError {
	f := Failure{Kind: CodeSignIn, Side: SideAzure, CopyCures: true, Text: "the credential cannot be used: " + oneLine(plain(err)), Advice: "check azure.credential"}
	if c.kind() == KindWorkloadIdentity {
		f.Advice = "label the pod azure.workload.identity/use=true and annotate its service account with azure.workload.identity/client-id, or set clientID, tenantID and tokenFile"
	}
	return &SignInError{Kind: c.kind(), Failure: f}
}

// plain returns an error's text without azidentity's prefix and its link at the end.
func plain(err error) string {
	text, _, _ := strings.Cut(err.Error(), "To troubleshoot, visit")
	if name, rest, found := strings.Cut(text, "Credential: "); found && !strings.Contains(name, " ") {
		text = rest
	}
	return strings.Trim(text, " .\n")
}
