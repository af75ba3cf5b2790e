package main

import (
	"bytes"
	"cmp"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/draysync/dray/internal/auth"
	"github.com/draysync/dray/internal/config"
	"github.com/draysync/dray/internal/emulator/aws"
	"github.com/draysync/dray/internal/emulator/azure"
	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/image"
	images "github.com/draysync/dray/internal/registry"
)

// put writes a file, and returns its path.
func put(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// drayAmong runs the real program with a config, whose version and folder it adds, where all hosts are reached through a proxy. HOME and
// DOCKER_CONFIG are dir. It returns what was printed, and the exit code.
func drayAmong(t *testing.T, hosts map[string]http.Handler, dir, command, text string, env ...string) (out string, code int) {
	t.Helper()
	outside := azure.New(azure.Options{Outside: hosts})
	t.Cleanup(outside.Close)
	proxy, err := outside.StartProxy()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	file := put(t, dir, "dray.yaml", "version: 1\nstateDir: state\n"+text)
	program := exec.CommandContext(t.Context(), os.Args[0], append(strings.Fields(command), "-c", file)...)
	program.Env = append([]string{
		asDray + "=1", "HOME=" + dir, "DOCKER_CONFIG=" + dir,
		"HTTPS_PROXY=" + proxy.URL, "HTTP_PROXY=" + proxy.URL, "SSL_CERT_FILE=" + put(t, dir, "ca.pem", string(proxy.CA)),
	}, env...)
	var printed bytes.Buffer
	program.Stdout, program.Stderr = &printed, &printed
	_ = program.Run() // its exit code is returned
	return printed.String(), program.ProcessState.ExitCode()
}

// TestAWS syncs by the real program into and from hosts of Amazon ECR, which the config does not name: with the credential that AWS's SDK finds,
// and without one. What the user has written wins, and AWS is not asked where no host is one of ECR.
func TestAWS(t *testing.T) {
	fulltest.Long(t)
	t.Parallel()
	const (
		private, public, other = "111122223333.dkr.ecr.eu-west-1.amazonaws.com", "public.ecr.aws", "registry.example.com"
		keyID, secret          = "AKIAEMULATOR", "the/user's+secret"
		role                   = "arn:aws:iam::111122223333:role/mirror"
	)
	for name, c := range map[string]struct {
		source, target, registries string
		keys, config, bare, listed bool // bare has no repositories
		code                       int
		calls                      string // parts of them
		says                       []string
		tags, created, command     string // created is the repository
	}{
		"by keys":           {source: other, target: private, keys: true, calls: "ecr eu-west-1 GetAuthorizationToken"},
		"no credential":     {source: other, target: private, code: exitPartly, calls: "metadata", says: []string{"no credential is configured for " + private, "set AWS_PROFILE", "docker login"}},
		"public, anonymous": {source: public, target: other, calls: "metadata"},
		"public, by keys":   {source: public, target: other, keys: true, calls: "ecr-public us-east-1 GetAuthorizationToken"},
		"by the config":     {source: other, target: private, keys: true, registries: "registries: {" + private + ": {username: AWS, password: '${env:PASSWORD}'}}"},
		"by a role":         {source: other, target: private, keys: true, registries: "registries: {" + private + ": {aws: {role: '" + role + "', externalID: ext}}}", calls: "ecr eu-west-1 GetAuthorizationToken role/mirror"},
		"a role that refuses": {source: other, target: private, keys: true, registries: "registries: {" + private + ": {aws: {role: '" + role + "'}}}", code: exitPartly, calls: "sts AssumeRole",
			says: []string{"AWS answered AccessDenied", "trust policy"}},
		"named, no credential": {source: public, target: other, registries: "registries: {" + public + ": {aws: {}}}", code: exitPartly, calls: "metadata", says: []string{"there is no credential in the environment"}},
		"no repository":        {source: other, target: private, keys: true, bare: true, code: exitPartly, calls: "ecr eu-west-1 GetAuthorizationToken", says: []string{"NAME_UNKNOWN", "createRepositories"}},
		"creates it": {source: other, target: private, keys: true, bare: true, registries: "registries: {" + private + ": {aws: {createRepositories: {immutable: true}}}}", tags: "['*']",
			listed: true, calls: "ecr eu-west-1 CreateRepository", created: "copy"},
		"who, by a role": {source: other, target: private, keys: true, command: "check --online", registries: "registries: {" + private + ": {aws: {role: '" + role + "', externalID: ext}}}",
			calls: "sts GetCallerIdentity role/mirror", says: []string{private + " as arn:aws:sts::111122223333:role/mirror"}},
		"who, by keys":                  {source: other, target: private, keys: true, command: "check --online", calls: "sts GetCallerIdentity", says: []string{private + " as arn:aws:sts::111122223333:user/" + keyID}},
		"who, by docker login":          {source: other, target: private, keys: true, config: true, command: "check --online", says: []string{private + " as AWS"}},
		"by docker login":               {source: other, target: private, keys: true, config: true},
		"lists its tags":                {source: private, target: other, keys: true, tags: "['*']", listed: true, calls: "ecr eu-west-1 ListImages user/" + keyID},
		"lists nothing by docker login": {source: private, target: other, keys: true, config: true, tags: "['*']"},
		"lists nothing by HEAD":         {source: private, target: other, keys: true, tags: "['*']", registries: "registries: {" + private + ": {listing: head}}", calls: "ecr eu-west-1 GetAuthorizationToken"},
		"no host of ECR":                {source: "docker.io", target: other, keys: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.tags = cmp.Or(c.tags, "['1']")
			content := registry.New(registry.Options{})
			cloud := aws.New(aws.Options{Keys: map[string]string{keyID: secret}, Account: "111122223333", Known: time.Second, Roles: []aws.Role{{ARN: role, ExternalID: "ext"}}, Images: func(path string) (tags []aws.ListedTag, found bool) {
				for _, tag := range content.Tags(path) {
					tags = append(tags, aws.ListedTag{Tag: tag, Digest: content.Digest(path, tag)})
				}
				return tags, len(tags) > 0
			}})
			password := cloud.Login("eu-west-1")
			api := httptest.NewServer(cloud)
			t.Cleanup(api.Close)
			for i := range 50 {
				if err := registry.SingleArch(int64(i), "linux/amd64", registry.ImageOptions{LayerSize: 100}).Push(content, "library/app", strconv.Itoa(i)); err != nil {
					t.Fatal(err)
				}
			}
			var target http.Handler = registry.New(registry.Options{})
			if c.bare {
				target = cloud.Repositories(target)
			}
			if c.source == private {
				target = content
			}
			dir := t.TempDir()
			if c.config {
				put(t, dir, "config.json", `{"auths":{"`+private+`":{"username":"AWS","password":"`+password+`"}}}`)
			}
			env := []string{
				"PASSWORD=" + password, "AWS_ENDPOINT_URL_ECR=" + api.URL, "AWS_ENDPOINT_URL_ECR_PUBLIC=" + api.URL, "AWS_ENDPOINT_URL_STS=" + api.URL,
				"AWS_EC2_METADATA_SERVICE_ENDPOINT=" + api.URL,
			}
			if c.keys {
				env = append(env, "AWS_ACCESS_KEY_ID="+keyID, "AWS_SECRET_ACCESS_KEY="+secret)
			}
			out, code := drayAmong(t, map[string]http.Handler{private: cloud.Registry(target), public: content, other: content, "docker.io": content}, dir, cmp.Or(c.command, "sync"),
				c.registries+"\nmappings:\n- {source: '"+c.source+"/library/app', target: '"+c.target+"/copy', tags: "+c.tags+"}\n", env...)
			if code != c.code {
				t.Errorf("exit code %d, want %d:\n%s", code, c.code, out)
			}
			for _, text := range c.says {
				if !strings.Contains(out, text) {
					t.Errorf("%q is not in\n%s", text, out)
				}
			}
			for _, text := range cloud.Secrets() {
				if text != "" && strings.Contains(out, text) {
					t.Errorf("the secret %q is in\n%s", text, out)
				}
			}
			if created := slices.Collect(maps.Keys(cloud.Created())); c.created != strings.Join(created, " ") {
				t.Errorf("the repositories %q were created", created)
			}
			if c.created != "" && !strings.Contains(cloud.Created()[c.created].Settings, `"imageTagMutability":"IMMUTABLE"`) {
				t.Errorf("%+v", cloud.Created())
			}
			calls := strings.Join(cloud.Calls(), "\n")
			if got := strings.Contains(calls, "ListImages"); got != c.listed {
				t.Errorf("images are listed: %t\n%s", got, calls)
			}
			if strings.Count(calls, "CreateRepository") > 1 || !strings.Contains(calls, c.calls) || c.calls == "" && calls != "" {
				t.Errorf("AWS was asked for\n%s", calls)
			}
		})
	}
}

// TestAWSNotThroughAzure: Azure is not asked to import from a registry that AWS signs dray in to.
func TestAWSNotThroughAzure(t *testing.T) {
	t.Parallel()
	side := &azureSide{config: &config.Config{Registries: map[string]config.Registry{
		"111122223333.dkr.ecr.eu-west-2.amazonaws.com": {Anonymous: true}, "ecr-public.aws.com": {AWS: &config.RegistryAWS{}},
	}}}
	client, err := images.New(images.Options{})
	if err != nil {
		t.Fatal(err)
	}
	store, err := auth.Load(func(name string) string { return map[string]string{"HOME": t.TempDir()}[name] })
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]bool{
		"111122223333.dkr.ecr.eu-west-1.amazonaws.com": true, "111122223333.dkr.ecr.eu-west-2.amazonaws.com": false, "public.ecr.aws": false, "ecr-public.aws.com": true,
		"registry.example.com": false,
	} {
		if got := side.known(image.Repository{Registry: host, Path: "app"}, client, store).Stored; got != want {
			t.Errorf("%s: %v", host, got)
		}
	}
}
