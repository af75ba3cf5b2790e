package receiver

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/image"
)

// payload returns the body that a sender's documentation shows.
func payload(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	if name == "gcr-message" { // as Pub/Sub wraps it
		if b, err = json.Marshal(map[string]any{
			"message":      map[string]any{"data": base64.StdEncoding.EncodeToString(b), "messageId": "136969346945", "publishTime": "2021-02-26T19:13:55.749Z"},
			"subscription": "projects/myproject/subscriptions/mysubscription",
		}); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// lines are what events say, one line each.
func lines(events []event) (all []string) {
	for _, e := range events {
		var names []string
		for _, p := range e.pushed {
			names = append(names, p.String())
		}
		if e.why != "" {
			names = append(names, "nothing: "+e.why)
		}
		all = append(all, strings.Join(names, " or "))
	}
	return all
}

func TestRead(t *testing.T) {
	none := http.Header{}
	header := func(name, value string) http.Header { return http.Header{name: {value}} }
	for _, c := range []struct {
		name, kind, payload, registry string
		header                        http.Header
		want                          []string
	}{
		{"", "dockerhub", "dockerhub", "", none, []string{"docker.io/svendowideit/testhook:latest"}},
		{"", "github", "github", "", header("X-Github-Event", "registry_package"), []string{"ghcr.io/codertocat/hello-world:v1.2.3"}},
		{"", "quay", "quay", "", none, []string{"quay.io/mynamespace/repository:latest", "quay.io/mynamespace/repository:v2"}},
		{"of old", "quay", "quay-old", "", none, []string{"quay.io/mynamespace/repository:latest"}},
		{"", "harbor", "harbor", "", none, []string{"harbor.example.com/harbor/alpine@sha256:954b378c375d852eb3c63ab88978f640b4348b01c1b3456a024a81536dafbbf4", "harbor.example.com/harbor/alpine:3.20"}},
		{"as a CloudEvent", "harbor", "harbor-cloudevent", "", none, []string{"harbor.example.com/harbor/alpine:latest"}},
		{"at another name", "harbor", "harbor-cloudevent", "harbor.internal:8443", none, []string{"harbor.internal:8443/harbor/alpine:latest"}},
		{"", "acr", "acr", "", none, []string{"myregistry.azurecr.io/hello-world:v1"}},
		{"", "gcr", "gcr-message", "", none, []string{"us-east1-docker.pkg.dev/my-project/my-repo/hello-world:1.1"}},
		{"", "ecr", "ecr", "", none, []string{"123456789012.dkr.ecr.us-west-2.amazonaws.com/my-repository-name:latest"}},
		{"", "distribution", "distribution", "", none, []string{
			"registrycluster.local:5000/library/test:v3", "nothing: it names no tag", `nothing: it is the action "pull", not a push`,
		}},
		{"", "artifactory", "artifactory", "artifactory.example.com", none, []string{
			"artifactory.example.com/docker-local/team/sample_image:sample_tag or artifactory.example.com/team/sample_image:sample_tag",
		}},
		{"", "nexus", "nexus", "nexus.example.com:8082", none, []string{"nexus.example.com:8082/team/sample:1.0 or nexus.example.com:8082/docker-hosted/team/sample:1.0"}},
		{"", "zot", "zot", "zot.example.com", none, []string{"zot.example.com/team/app:1.4"}},
		{"of Harbor", "cloudevents", "harbor-cloudevent", "", none, []string{"harbor.example.com/harbor/alpine:latest"}},
		{"in binary mode", "cloudevents", "cdevent", "", header("Ce-Type", "dev.cdevents.artifact.published.0.2.0"), []string{"registry.example.com/team/myapp:v7"}},
		{"with an image", "cloudevents", "generic", "", header("Ce-Type", "com.example.pushed"), []string{"registry.example.com:5000/team/app:v1"}},
		{"", "generic", "generic", "", none, []string{"registry.example.com:5000/team/app:v1"}},
	} {
		t.Run(strings.TrimSpace(c.kind+" "+c.name), func(t *testing.T) {
			k, _ := kindOf(c.kind)
			events, err := k.read(payload(t, c.payload), c.header, c.registry)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, lines(events)); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

// What is no push leads to nothing, and what is no event is refused; neither is taken for a push.
func TestReadOther(t *testing.T) {
	subject, other := strings.Repeat("a", 64), strings.Repeat("b", 64)
	for _, c := range []struct{ kind, body, want string }{
		{"dockerhub", `{"push_data":{"tag":""},"repository":{"repo_name":"a/b"}}`, "nothing: it names no tag"},
		{"dockerhub", `{"push_data":{"tag":"x"},"repository":{"repo_name":"alpine"}}`, "docker.io/library/alpine:x"},
		{"dockerhub", `{"push_data":{"tag":"x y"},"repository":{"repo_name":"a/b"}}`, "nothing: it names an invalid tag"},
		{"dockerhub", `{"push_data":{"tag":"x"},"repository":{"repo_name":"../b"}}`, "nothing: it names an invalid repository"},
		{"dockerhub", `[]`, "error: it is not an event of this kind: it is a JSON array"},
		{"github", `{"zen":"Design for failure.","hook_id":1}`, `nothing: it is GitHub's event "", not one of a package`},
		{"github", `{"action":"deleted","package":{"package_type":"CONTAINER"}}`, `nothing: a package was "deleted", not published`},
		{"github", `{"action":"published","package":{"package_type":"npm"}}`, `nothing: it is a package of the type "npm", not a container`},
		{"github", `{"action":"published","package":{"package_type":"CONTAINER","namespace":"a","name":"b","package_version":{"container_metadata":{"tag":{"name":""}}}}}`, "nothing: it names no tag"},
		{"quay", `{"docker_url":"quay.io/a/b","build_id":"1"}`, "nothing: it names no tag that was pushed"},
		{"harbor", `{"type":"DELETE_ARTIFACT"}`, `nothing: it is Harbor's event "DELETE_ARTIFACT", not a push`},
		{"acr", `{"action":"ping"}`, `nothing: it is the action "ping", not a push`},
		{"gcr", `{"message":{"data":"?"}}`, "error: the message's data is not base64"},
		{"gcr", `{"message":{"data":"eyJhY3Rpb24iOiJERUxFVEUifQ=="}}`, `nothing: it is the action "DELETE", not a push`},
		{"ecr", `{"detail-type":"ECR Image Scan"}`, `nothing: it is the event "ECR Image Scan", not one of an image`},
		{"ecr", `{"detail-type":"ECR Image Action","account":"1","region":"cn-north-1","detail":{"action-type":"PUSH","result":"SUCCESS","repository-name":"a","image-tag":"b"}}`, "1.dkr.ecr.cn-north-1.amazonaws.com.cn/a:b"},
		{"ecr", `{"detail-type":"ECR Image Action","detail":{"action-type":"DELETE","result":"SUCCESS"}}`, `nothing: it is the action "DELETE" with the result "SUCCESS", not a push`},
		{"distribution", `{"events":[]}`, ""},
		{"distribution", `{"events":[{"action":"push","target":{"repository":"a","tag":"b"},"request":{"host":"user:pw@h"}}]}`, "nothing: it names an invalid registry"},
		{"nexus", `{"action":"DELETED","component":{"format":"docker"}}`, `nothing: it is the action "DELETED" on a component of the format "docker", not a push of an image`},
		{"artifactory", `{"domain":"docker","event_type":"deleted"}`, `nothing: it is the event "deleted" of the domain "docker", not a push of an image`},
		{"zot", `{"type":"zotregistry.image.updated","data":{"name":"a","reference":"sha256:` + other + `","manifest":"{\"subject\":{\"digest\":\"sha256:` + subject + `\"}}"}}`, "r.example/a@sha256:" + subject},
		{"zot", `{"type":"zotregistry.image.updated","data":{"name":"a","reference":"b","manifest":"{\"subject\":{\"digest\":\"sha256:` + subject + `\"}}"}}`, "r.example/a:b"},
		{"zot", `{"type":"zotregistry.image.updated","data":{"name":"a","reference":"sha256:` + other + `","manifest":"{\"subject\":{\"digest\":\"x\"}}"}}`, "nothing: it names no tag"},
		{"zot", `{"type":"zotregistry.image.updated","data":{"name":"a","reference":"sha256:` + other + `","manifest":"<html>"}}`, "nothing: it names no tag"},
		{"zot", `{"type":"zotregistry.image.updated","data":{"name":"A","reference":"sha256:` + other + `","manifest":"{\"subject\":{\"digest\":\"sha256:` + subject + `\"}}"}}`, "nothing: it names an invalid repository"},
		{"generic", `{"image":"h.io/a@sha256:` + subject + `"}`, "h.io/a@sha256:" + subject},
		{"zot", `{"type":"zotregistry.repository.created","data":{}}`, `nothing: it is the event "zotregistry.repository.created", which names no image`},
		{"zot", `[{"type":"zotregistry.image.updated","data":{"name":"a","reference":"b"}},{"type":"zotregistry.image.deleted"}]`, `r.example/a:b; nothing: it is the event "zotregistry.image.deleted", which names no image`},
		{"cloudevents", `{"type":"com.example.image.pushed","data":{"image":"h.io/a:1"}}`, "h.io/a:1"},
		{"distribution", `{"events":[{"action":"push","target":{"repository":"_","tag":"b"},"request":{"host":"h.io"}},{"action":"push","target":{"repository":"a","tag":"b"},"request":{"host":"h.io"}}]}`, "nothing: it names an invalid repository; h.io/a:b"},
		{"cloudevents", `[{"type":"zotregistry.image.updated","data":7},{"type":"x","data":{"image":"h.io/a:1"}}]`, "nothing: it is not an event of this kind: it is a JSON number; h.io/a:1"},
		{"generic", `{}`, `error: it names no image: send {"image": "host/repository:tag"}`},
		{"generic", `{"images":["h.io/a:1","h.io/b:2"],"image":"h.io/c@sha256:x"}`, "h.io/a:1; h.io/b:2; nothing: it names no tag"},
		{"generic", `{"image":"alpine"}`, "nothing: it does not name an image in full, as host/repository:tag"},
	} {
		k, _ := kindOf(c.kind)
		registry := ""
		if k.hostless {
			registry = "r.example"
		}
		events, err := k.read([]byte(c.body), http.Header{}, registry)
		got := strings.Join(lines(events), "; ")
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != c.want {
			t.Errorf("%s %s\n got %s\nwant %s", c.kind, c.body, got, c.want)
		}
	}
}

// FuzzRead: whatever comes, what is taken for a push is a tag of a repository that can be written out and read again.
func FuzzRead(f *testing.F) {
	entries, err := os.ReadDir("testdata")
	if err != nil {
		f.Fatal(err)
	}
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".json"); ok {
			for i := range kinds {
				f.Add(i, payload(f, name), "")
			}
		}
	}
	f.Add(2, payload(f, "cdevent"), "dev.cdevents.artifact.published.0.2.0")
	f.Fuzz(func(t *testing.T, kind int, body []byte, ceType string) {
		if kind < 0 || kind >= len(kinds) {
			return
		}
		header := http.Header{}
		if ceType != "" {
			header.Set("Ce-Type", ceType)
		}
		events, err := kinds[kind].read(body, header, "registry.example.com")
		if err != nil && len(events) > 0 {
			t.Error("events beside an error")
		}
		for _, e := range events {
			if (len(e.pushed) == 0) == (e.why == "") {
				t.Errorf("%d pushed because %q", len(e.pushed), e.why)
			}
			for _, p := range e.pushed {
				if again, err := image.Parse(p.String()); err != nil || again != p {
					t.Errorf("%q is read as %q: %v", p, again, err)
				}
			}
		}
	})
}
