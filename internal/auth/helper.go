package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/draysync/dray/internal/image"
)

const (
	helperTimeout = 30 * time.Second
	// maxHelper limits the output of a helper, in bytes.
	maxHelper = 64 << 10
	// tokenUser is the user that a helper returns if the secret is an identity token.
	tokenUser = "<token>"
)

// Helper returns the [Source] of a credential helper, given its program's name after docker-credential-.
func Helper(name string) Source {
	return func(ctx context.Context, repo image.Repository) (Credential, time.Time, error) {
		c, err := askHelper(ctx, name, serverName(repo.Registry))
		if errors.Is(err, exec.ErrNotFound) {
			err = fmt.Errorf("the credential helper %s is not installed: %w", program(name), err)
		}
		return c, time.Now().Add(storeLasts), err
	}
}

// errNoSecret says that a helper knows a user and not the password.
var errNoSecret = errors.New("its answer has a Username and no Secret")

func program(helper string) string { return "docker-credential-" + helper }

// askHelper runs a credential helper by the protocol of docker-credential-helpers: the server on standard input, a JSON object on standard
// output. That the helper has nothing for the server is not an error. Its output is never shown, since it may be a secret.
func askHelper(ctx context.Context, helper, server string) (Credential, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, helperTimeout, fmt.Errorf("it did not end within %s", helperTimeout))
	defer cancel()
	var out bounded
	command := exec.CommandContext(ctx, program(helper), "get") //nolint:gosec // the user's own file names the helper, as for docker
	command.Stdin = strings.NewReader(server)
	command.Stdout = &out
	command.WaitDelay = 250 * time.Millisecond
	endGroup(command)
	err := command.Run()
	if errors.Is(err, exec.ErrWaitDelay) { // it has succeeded; what it has started still holds its output
		err = nil
	}
	switch {
	case out.full:
		return Credential{}, fmt.Errorf("%s get: it writes more than %d bytes", program(helper), maxHelper)
	case ctx.Err() != nil:
		return Credential{}, fmt.Errorf("%s get: %w", program(helper), context.Cause(ctx))
	case err != nil && bytes.Contains(out.kept.Bytes(), []byte("credentials not found")):
		return Credential{}, nil
	case errors.Is(err, exec.ErrNotFound):
		return Credential{}, fmt.Errorf("%s get: %w", program(helper), err)
	case err != nil:
		return Credential{}, fmt.Errorf("%s get: %w; run it by hand to see what it says: echo %s | %[1]s get", program(helper), err, server)
	}
	var answer struct{ Username, Secret string }
	if json.NewDecoder(&out.kept).Decode(&answer) != nil { // like Docker, ignore what follows the object
		return Credential{}, fmt.Errorf("%s get: its answer is not a JSON object", program(helper))
	}
	if answer.Username != "" && answer.Secret == "" {
		return Credential{}, fmt.Errorf("%s get: %w; run it by hand to see what it says: echo %s | %[1]s get", program(helper), errNoSecret, server)
	}
	if answer.Username == tokenUser {
		return Credential{IdentityToken: answer.Secret}, nil
	}
	return Credential{Username: answer.Username, Password: answer.Secret}, nil
}

// bounded keeps output up to a limit and then fails the write, which ends the writer. It is an io.Writer only: the ReadFrom of a
// bytes.Buffer would bypass the limit.
type bounded struct {
	kept bytes.Buffer
	full bool
}

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	if b.kept.Len()+len(p) > maxHelper {
		b.full = true
		return 0, io.ErrShortWrite
	}
	return b.kept.Write(p)
}

// serverName returns the name under which Docker stores the credentials of a registry.
func serverName(registry string) string {
	if registry == image.DockerHub {
		return "https://index.docker.io/v1/"
	}
	return registry
}
