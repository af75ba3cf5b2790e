package main

import (
	"cmp"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/convert"
	"github.com/draysync/dray/internal/emulator/azure"
	"github.com/draysync/dray/internal/fulltest"
)

// azScripts are the scripts with `az acr import` of the converter's examples, each with the lines that a shell runs where the file is none of a
// shell's.
func azScripts() map[string]string {
	return map[string]string{
		"az-plain.sh": "", "az-continued.sh": "", "az-several.sh": "", "az-variables.sh": "", "az-loop.sh": "", "az-unknown-loop.sh": "", "az-registry.sh": "",
		"az-digest.sh": "", "az-private.sh": "",
		"az-pipeline.yml":   "az acr import --name myregistry --source docker.io/library/hello-world:$tag --image hello-world:$tag --force",
		"az-workflow.yml":   "az acr import --name myregistry --source docker.io/tensorflow/tensorflow:latest-gpu --image tensorflow:latest-gpu --username $HUB_USER --password $HUB_TOKEN",
		"az-powershell.ps1": "az acr import --name myregistry --source myregistry.azurecr.io/staging/app:v1 --image released:$TAG",
	}
}

// scriptEnv is what the scripts are run with, and dray with what is made of them.
func scriptEnv() []string {
	return []string{"TAG=latest", "tag=latest", "image=hello-world:latest", "DRAY_PASSWORD_REGISTRY_EXAMPLE_COM=plain-text-password"}
}

// TestAzureScripts converts scripts with `az acr import`, and syncs what is made of them: the registry is asked for the same imports as by the
// scripts with the real az, of which that was recorded.
func TestAzureScripts(t *testing.T) {
	fulltest.Long(t)
	t.Parallel()
	recorded := scriptsRecorded(t)
	for _, name := range slices.Sorted(maps.Keys(azScripts())) {
		a := newArticle(t)
		data, err := os.ReadFile(filepath.Join("../../internal/convert/testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		result, err := convert.Convert([]convert.File{{Name: name, Data: []byte(a.named(string(data)))}}, convert.Options{})
		if err != nil {
			t.Fatal(err)
		}
		c, env := a.sync(t, string(result.YAML))
		imports := a.run(t, c, append(env, scriptEnv()...)...)
		if diff := gocmp.Diff(recorded[name], brought(t, imports)); diff != "" || len(imports) == 0 {
			t.Errorf("%s: dray asks for something else than the script (-az +dray):\n%s", name, diff)
		}
		if leaks := a.cloud.Account().Leaks; len(leaks) > 0 {
			t.Errorf("%s: %+v", name, leaks)
		}
	}
}

// brought flattens imports: what comes from where to which tag. Whether several tags are one request does not matter, nor Force where the tag is
// not there.
func brought(t *testing.T, imports []azure.Import) []string {
	t.Helper()
	var list []string
	for _, i := range imports {
		var body struct {
			Source struct {
				ResourceID  string `json:"resourceId"`
				RegistryURI string `json:"registryUri"`
				Credentials any    `json:"credentials"`
				SourceImage string `json:"sourceImage"`
			} `json:"source"`
		}
		if err := json.Unmarshal([]byte(i.Body), &body); err != nil {
			t.Fatal(err)
		}
		body.Source.SourceImage, _, _ = strings.Cut(strings.Split(body.Source.SourceImage, "@")[0], ":")
		source, err := json.Marshal(body.Source)
		if err != nil {
			t.Fatal(err)
		}
		for _, target := range slices.Concat(i.TargetTags, i.Untagged) {
			list = append(list, string(source)+" "+i.Digest+" → "+target)
		}
	}
	slices.Sort(list)
	return list
}

const recordedScripts = "testdata/az-scripts.json"

// scriptsRecorded returns what the scripts ask for by the real az. With -update-az it is recorded anew.
func scriptsRecorded(t *testing.T) map[string][]string {
	t.Helper()
	recorded := map[string][]string{}
	if !*updateAZ {
		raw, err := os.ReadFile(recordedScripts)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(raw, &recorded); err != nil {
			t.Fatal(err)
		}
		return recorded
	}
	for name, lines := range azScripts() {
		a := newArticle(t)
		a.run(t, exec.Command("az", "login", "--service-principal", "-u", azureClient, "-p", azureSecret, "--tenant", azureTenant))
		data, err := os.ReadFile(filepath.Join("../../internal/convert/testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		c := exec.Command("bash", "-c", cmp.Or(lines, a.named(string(data)))) //nolint:gosec // it is ours
		c.Dir = t.TempDir()
		if err := os.WriteFile(filepath.Join(c.Dir, "images.txt"), []byte("hello-world:latest\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		recorded[name] = brought(t, a.run(t, c, scriptEnv()...))
	}
	writeJSON(t, recordedScripts, recorded)
	return recorded
}
