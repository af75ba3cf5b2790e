package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/draysync/dray/internal/emulator/hub"
	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
)

// policyOfConfig is a policy with keys.
func policyOfConfig(name, more string, keys ...cosignKey) string {
	authorities := make([]string, len(keys))
	for i, k := range keys {
		authorities[i] = fmt.Sprintf("{key: '${file:%s}'}", k.file)
	}
	return fmt.Sprintf("  %s: {%s, authorities: [%s]}", name, more, strings.Join(authorities, ", "))
}

// TestPolicy: an image that is not signed as its policy wants is refused, and the target's tag stays, until it is.
func TestPolicy(t *testing.T) {
	t.Parallel()
	good, second, bad := newCosignKey(t, "good.pub"), newCosignKey(t, "second.pub"), newCosignKey(t, "bad.pub")
	source, target := registry.New(registry.Options{Referrers: true}), registry.New(registry.Options{Referrers: true})
	from, to := start(t, source), start(t, target)
	push := func(seed int64, tag string) string {
		t.Helper()
		if err := registry.MultiArch(seed, registry.ImageOptions{LayerSize: 100}).Push(source, "team/app", tag); err != nil {
			t.Fatal(err)
		}
		return source.Digest("team/app", tag)
	}
	good.tag(t, source, "team/app", push(1, "tagged"))
	good.bundle(t, source, "team/app", push(2, "bundled"), signPredicate)
	bad.bundle(t, source, "team/app", push(3, "wrong"), signPredicate)
	good.bundle(t, source, "team/app", push(4, "attested"), slsaPredicate)
	push(5, "unsigned")
	config := writeConfig(t, "verify:",
		policyOfConfig("team", "images: ['"+from+"/team/**']", good, second),
		policyOfConfig("both", "threshold: 2", good, second),
		policyOfConfig("attested", "attestations: ['"+slsaPredicate+"']", good),
		policyOfConfig("loose", "mode: warn", good),
		"mappings:",
		mapping("name: app, source: '%s/team/app', target: '%s/app', tags: [tagged, bundled, wrong, attested, unsigned]", from, to),
		mapping("name: some, source: '%s/team', repositories: ['a*'], target: '%s/some', tags: ['t*', 'u*']", from, to),
		mapping("name: both, source: '%s/team/app:tagged', target: '%s/both', verify: both", from, to),
		mapping("name: attested, source: '%s/team/app:bundled', target: '%s/attested', verify: attested", from, to),
		mapping("name: loose, source: '%s/team/app:wrong', target: '%s/loose', verify: loose", from, to),
		mapping("name: none, source: '%s/team/app:unsigned', target: '%s/none', verify: false", from, to))
	refusals := func(command string, want ...string) {
		t.Helper()
		doc, a := drayJSON(t, command, "-c", config)
		var got []string
		for _, j := range doc.Jobs {
			for _, action := range j.Actions {
				if action.Op == "refuse" {
					_, tag, _ := strings.Cut(action.Target[strings.LastIndexByte(action.Target, '/')+1:], ":")
					code := action.Error[strings.LastIndexByte(action.Error, '(')+1:]
					got = append(got, j.Job+" "+tag+" "+action.Reason+" "+strings.TrimSuffix(code, ")"))
				}
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
			t.Errorf("%s: exit code %d, refused\n%s\nwant\n%s\n%s", command, a.code, g, w, a.err)
		}
		if command == "sync" && (a.code != exitPartly) != (len(want) == 0) {
			t.Errorf("exit code %d", a.code)
		}
	}
	all := []string{
		"app attested unsigned signature.none", "app unsigned unsigned signature.none", "app wrong unsigned signature.wrong-key", "some unsigned unsigned signature.none",
		"both tagged unsigned signature.too-few", "attested bundled unsigned signature.no-attestation",
	}
	refusals("plan", all...)
	refusals("sync", all...)
	for repo, tags := range map[string][]string{"app": {"tagged", "bundled"}, "some/app": {"tagged"}, "loose": {"wrong"}, "none": {"unsigned"}} {
		for _, tag := range tags {
			if target.Digest(repo, tag) != source.Digest("team/app", tag) {
				t.Errorf("%s:%s is not there", repo, tag)
			}
		}
	}
	for _, absent := range []string{"app wrong", "app attested", "app unsigned", "some/app unsigned", "both tagged", "attested bundled"} {
		repo, tag, _ := strings.Cut(absent, " ")
		if target.Digest(repo, tag) != "" {
			t.Errorf("%s was imported", absent)
		}
	}
	if a := dray(t, "sync", "-c", config, "loose", "--log-level", "debug"); a.code != exitDone {
		t.Errorf("exit code %d\n%s", a.code, a.err)
	}
	for tag, code := range map[string]int{"unsigned": exitPartly, "bundled": exitDone} {
		if a := dray(t, "import", "-c", config, from+"/team/app:"+tag, to+"/imported"); a.code != code || (target.Digest("imported", tag) != "") != (code == exitDone) {
			t.Errorf("import of %s: exit code %d\n%s%s", tag, a.code, a.out, a.err)
		}
	}
	// A tag that moves to an image that nobody has signed stays; once that is signed, it follows.
	was := target.Digest("app", "tagged")
	moved := push(6, "tagged")
	second.bundle(t, source, "team/app", source.Digest("team/app", "unsigned"), signPredicate)
	refusals("sync", "app tagged unsigned signature.none", "app attested unsigned signature.none", "app wrong unsigned signature.wrong-key", "some tagged unsigned signature.none",
		"both tagged unsigned signature.none", "attested bundled unsigned signature.no-attestation")
	if target.Digest("app", "tagged") != was || target.Digest("app", "unsigned") == "" {
		t.Error("the tag has moved, or what is signed now was not imported")
	}
	good.tag(t, source, "team/app", moved)
	second.bundle(t, source, "team/app", moved, signPredicate)
	good.bundle(t, source, "team/app", source.Digest("team/app", "bundled"), slsaPredicate)
	refusals("sync", "app attested unsigned signature.none", "app wrong unsigned signature.wrong-key")
	if target.Digest("app", "tagged") != moved || target.Digest("both", "tagged") != moved {
		t.Error("what is signed now was not imported")
	}
}

// TestPolicyNoVerdict: where signatures cannot be looked at, the import has failed; nothing is refused, and nothing is imported.
func TestPolicyNoVerdict(t *testing.T) {
	t.Parallel()
	fulltest.Long(t)
	good := newCosignKey(t, "good.pub")
	source, target := registry.New(registry.Options{Referrers: true}), registry.New(registry.Options{})
	from, to := start(t, source), start(t, target)
	if err := registry.SingleArch(1, "linux/amd64", registry.ImageOptions{LayerSize: 100}).Push(source, "app", "v1"); err != nil {
		t.Fatal(err)
	}
	good.tag(t, source, "app", source.Digest("app", "v1"))
	config := writeConfig(t, "verify:", policyOfConfig("p", "images: ['"+from+"/**']", good), "mappings:",
		mapping("name: app, source: '%s/app:v1', target: '%s/app', retries: 0", from, to))
	remove := source.Inject(registry.Fault{Match: func(req *http.Request) bool { return strings.HasSuffix(req.URL.Path, ".sig") }, Status: http.StatusForbidden})
	doc, a := drayJSON(t, "sync", "-c", config)
	if a.code != exitPartly || doc.Totals.Failed != 1 || doc.Totals.Refuse != 0 || target.Digest("app", "v1") != "" {
		t.Errorf("exit code %d, %+v\n%s", a.code, doc.Totals, a.err)
	}
	loose := writeConfig(t, "verify:", policyOfConfig("p", "mode: warn, images: ['"+from+"/**']", good), "mappings:",
		mapping("name: app, source: '%s/app:v1', target: '%s/loose', retries: 0, referrers: false", from, to))
	if a := dray(t, "sync", "-c", loose); a.code != exitDone || target.Digest("loose", "v1") == "" || !strings.Contains(a.err, "the policy only warns") {
		t.Errorf("with a policy that warns: exit code %d\n%s", a.code, a.err)
	}
	remove()
	if a := dray(t, "sync", "-c", config); a.code != exitDone || target.Digest("app", "v1") == "" {
		t.Errorf("exit code %d\n%s", a.code, a.err)
	}
	requests := len(source.Requests())
	if a := dray(t, "sync", "-c", config); a.code != exitDone {
		t.Errorf("exit code %d\n%s", a.code, a.err)
	}
	for _, r := range source.Requests()[requests:] {
		if strings.Contains(r.Path, "sha256-") && strings.HasSuffix(r.Path, ".sig") {
			t.Errorf("an image that is there was verified again: %+v", r)
		}
	}
}

// TestPolicyOfWhatIsGone: there is no verdict on a digest that HEAD names for a tag and GET does not know. What GET gives for the tag is verified, and
// where that is nothing, the image is not there.
func TestPolicyOfWhatIsGone(t *testing.T) {
	t.Parallel()
	good := newCosignKey(t, "good.pub")
	gone := registry.Sum([]byte("gone"))
	for _, keeps := range []bool{false, true} {
		source, target := registry.New(registry.Options{Referrers: true, Heads: registry.HeadOptions{Digest: gone, Keeps: keeps}}), registry.New(registry.Options{})
		from, to := start(t, source), start(t, target)
		for i, tag := range []string{"signed", "bundled", "unsigned", "lost"} {
			if err := registry.MultiArch(int64(i), registry.ImageOptions{LayerSize: 100}).Push(source, "app", tag); err != nil {
				t.Fatal(err)
			}
		}
		good.tag(t, source, "app", source.Digest("app", "signed"))
		good.bundle(t, source, "app", source.Digest("app", "bundled"), signPredicate)
		for _, digest := range children(t, source, "app", source.Digest("app", "signed")) {
			good.tag(t, source, "app", digest)
		}
		source.Inject(registry.Fault{Match: func(r *http.Request) bool {
			return r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/manifests/lost")
		}, Status: 404})
		config := writeConfig(t, "verify:", policyOfConfig("image", "images: ['"+from+"/**']", good), policyOfConfig("platforms", "signed: platforms", good), "mappings:",
			mapping("name: app, source: '%s/app', target: '%s/app', tags: [signed, bundled, unsigned, lost], retries: 0", from, to),
			mapping("name: each, source: '%s/app:signed', target: '%s/each', verify: platforms, retries: 0", from, to))
		want := "app:bundled imported, app:lost failed, app:signed imported, app:unsigned refused, each:signed imported"
		for range 2 {
			doc, a := drayJSON(t, "sync", "-c", config)
			var got []string
			for _, j := range doc.Jobs {
				for _, action := range j.Actions {
					got = append(got, strings.TrimPrefix(action.Target, to+"/")+" "+string(action.Outcome))
					if action.Outcome == "refused" && action.Digest != source.Digest("app", "unsigned") {
						t.Errorf("what is refused is %s", action.Digest)
					}
				}
			}
			slices.Sort(got)
			if line := strings.Join(got, ", "); a.code != exitPartly || line != want {
				t.Errorf("keeps %v: exit code %d: %s\n%s", keeps, a.code, line, a.err)
			}
			want = strings.ReplaceAll(want, "imported", "kept")
		}
		for tag, code := range map[string]int{"signed": exitDone, "bundled": exitDone, "unsigned": exitPartly, "lost": exitFailed} {
			if a := dray(t, "verify", from+"/app:"+tag, "--key", good.file); a.code != code || code != exitFailed && !strings.Contains(a.out, source.Digest("app", tag)) {
				t.Errorf("keeps %v: verify %s: exit code %d\n%s%s", keeps, tag, a.code, a.out, a.err)
			}
		}
	}
}

// TestPolicySignaturesFrom: what is signed in another repository, at a registry with a sign-in of its own, is imported, and its signatures are not. That
// registry sends who reads blobs elsewhere.
func TestPolicySignaturesFrom(t *testing.T) {
	t.Parallel()
	good, bad := newCosignKey(t, "good.pub"), newCosignKey(t, "bad.pub")
	storage := &registry.Store{}
	server := httptest.NewServer(storage)
	t.Cleanup(server.Close)
	storage.URL = server.URL
	source, target := registry.New(registry.Options{}), registry.New(registry.Options{})
	signatures := registry.New(registry.Options{Referrers: true, Auth: &registry.Auth{Users: map[string]string{"reader": "secret-of-reader"}}, Store: storage})
	from, to, signed := start(t, source), start(t, target), start(t, signatures)
	const repo = "keys/signatures"
	for i, tag := range []string{"tagged", "bundled", "wrong", "unsigned"} {
		if err := registry.MultiArch(int64(i), registry.ImageOptions{LayerSize: 100}).Push(source, "team/app", tag); err != nil {
			t.Fatal(err)
		}
	}
	digest := func(tag string) string { return source.Digest("team/app", tag) }
	good.tag(t, signatures, repo, digest("tagged"))
	good.bundle(t, signatures, repo, digest("bundled"), signPredicate)
	bad.bundle(t, signatures, repo, digest("wrong"), signPredicate)
	good.tag(t, source, "team/app", digest("unsigned")) // where it does not count
	config := func(password, signed string) string {
		return writeConfig(t, "verify:", policyOfConfig("team", "images: ['"+from+"/team/**'], signaturesFrom: '"+signed+"/"+repo+"'", good),
			"registries:", "  '"+signed+"': {username: reader, password: "+password+", plainHTTP: true}",
			"mappings:", mapping("name: app, source: '%s/team/app', target: '%s/app', tags: [tagged, bundled, wrong, unsigned], retries: 0", from, to))
	}
	right := config("secret-of-reader", signed)
	results := func(config string) (counts [3]int, a answer) {
		t.Helper()
		doc, a := drayJSON(t, "sync", "-c", config)
		if strings.Contains(a.out+a.err, "secret-of") {
			t.Errorf("a secret is shown\n%s%s", a.out, a.err)
		}
		return [3]int{doc.Totals.Import, doc.Totals.Refuse, doc.Totals.Failed}, a
	}
	if got, a := results(config("secret-of-nobody", signed)); got != [3]int{0, 0, 4} {
		t.Errorf("a wrong password: imported, refused, failed: %d\n%s", got, a.err)
	}
	if got, a := results(config("secret-of-reader", "127.0.0.1:1")); got != [3]int{0, 0, 4} || !strings.Contains(a.out, "127.0.0.1:1") {
		t.Errorf("nobody answers: imported, refused, failed: %d\n%s", got, a.out)
	}
	if got, a := results(right); got != [3]int{2, 2, 0} || !strings.Contains(a.out, "nothing signs it; signatures were looked for at "+signed+"/"+repo+" (signature.none)") {
		t.Errorf("imported, refused, failed: %d\n%s", got, a.out)
	}
	for _, tag := range []string{"tagged", "bundled"} {
		if target.Digest("app", tag) != digest(tag) || target.Digest("app", strings.Replace(digest(tag), ":", "-", 1)+".sig") != "" {
			t.Errorf("%s is not there, or its signature is", tag)
		}
	}
	if len(signatures.Requests()) == 0 || slices.ContainsFunc(signatures.Requests(), func(r registry.Request) bool { return r.Method != http.MethodGet && r.Method != http.MethodHead }) {
		t.Errorf("%+v", signatures.Requests())
	}
	for _, flags := range [][]string{{"--policy", "team"}, {"--key", good.file, "--signatures-from", signed + "/" + repo}} {
		for tag, code := range map[string]int{"tagged": exitDone, "bundled": exitDone, "wrong": exitPartly, "unsigned": exitPartly} {
			if a := dray(t, append([]string{"verify", "-c", right, from + "/team/app:" + tag}, flags...)...); a.code != code {
				t.Errorf("%q, %s: exit code %d\n%s%s", flags, tag, a.code, a.out, a.err)
			}
		}
	}
	if a := dray(t, "verify", "-c", right, from+"/team/app:tagged", "--policy", "tean"); a.code != exitUsage || !strings.Contains(a.err, `["team"]`) {
		t.Errorf("exit code %d\n%s", a.code, a.err)
	}
	if a := dray(t, "check", "-c", right, "--online"); a.code != exitDone || !strings.Contains(a.out, signed) {
		t.Errorf("check: exit code %d\n%s%s", a.code, a.out, a.err)
	}
}

// TestPolicyWithoutTagList: at a registry without the referrers API, whose account may not list tags, signatures are found in both forms, and copied.
func TestPolicyWithoutTagList(t *testing.T) {
	t.Parallel()
	good := newCosignKey(t, "good.pub")
	source, target := registry.New(registry.Options{}), registry.New(registry.Options{})
	from, to := start(t, source), start(t, target)
	for i, tag := range []string{"tagged", "bundled", "unsigned"} {
		if err := registry.MultiArch(int64(i), registry.ImageOptions{LayerSize: 100}).Push(source, "app", tag); err != nil {
			t.Fatal(err)
		}
	}
	good.tag(t, source, "app", source.Digest("app", "tagged"))
	good.bundle(t, source, "app", source.Digest("app", "bundled"), signPredicate)
	source.Inject(registry.Fault{Match: registry.MatchKind(http.MethodGet, registry.KindTags), Status: http.StatusForbidden})
	config := writeConfig(t, "verify:", policyOfConfig("p", "images: ['"+from+"/**']", good), "mappings:",
		mapping("name: app, source: '%s/app', target: '%s/app', tags: [tagged, bundled, unsigned], retries: 0", from, to))
	doc, a := drayJSON(t, "sync", "-c", config)
	if a.code != exitPartly || doc.Totals.Import != 2 || doc.Totals.Refuse != 1 {
		t.Errorf("exit code %d, %+v\n%s", a.code, doc.Totals, a.err)
	}
	for tag, suffix := range map[string]string{"tagged": ".sig", "bundled": ""} {
		if name := strings.Replace(source.Digest("app", tag), ":", "-", 1) + suffix; target.Digest("app", name) != source.Digest("app", name) {
			t.Errorf("the signature of %s is not copied", tag)
		}
	}
}

// TestPolicyOfAllTags: what cosign tags after an image is copied with it, and not refused for itself.
func TestPolicyOfAllTags(t *testing.T) {
	t.Parallel()
	good := newCosignKey(t, "good.pub")
	source, target := registry.New(registry.Options{}), registry.New(registry.Options{})
	from, to := start(t, source), start(t, target)
	if err := registry.SingleArch(1, "linux/amd64", registry.ImageOptions{LayerSize: 100}).Push(source, "app", "v1"); err != nil {
		t.Fatal(err)
	}
	digest := source.Digest("app", "v1")
	good.tag(t, source, "app", digest)
	config := writeConfig(t, "verify:", policyOfConfig("p", "images: ['"+from+"/**']", good), policyOfConfig("idle", "images: ['other.example/**']", good), "mappings:",
		mapping("name: app, source: '%s/app', target: '%s/app', tags: ['*']", from, to),
		mapping("name: free, source: '%s/app:v1', target: '%s/free', verify: false", from, to))
	doc, a := drayJSON(t, "sync", "-c", config)
	if a.code != exitDone || doc.Totals.Import != 2 || target.Digest("app", strings.Replace(digest, ":", "-", 1)+".sig") == "" {
		t.Errorf("exit code %d, %+v\n%s", a.code, doc.Totals, a.err)
	}
	a = dray(t, "check", "-c", config)
	for _, want := range []string{"verify.idle holds for no mapping", "free is not verified (verify: false), though verify.p matches its source"} {
		if !strings.Contains(a.out, want) {
			t.Errorf("check says nothing of %q\n%s", want, a.out)
		}
	}
}

// TestPolicyPulls: an import with a policy takes as many pulls as without, since what verifies it is copied anyway; an image that is not signed
// takes none, also in the next run. That holds too for a tag that comes later and
// names an image that was verified before.
func TestPolicyPulls(t *testing.T) {
	t.Parallel()
	fulltest.Long(t)
	good := newCosignKey(t, "good.pub")
	pulls := func(verify, signed, platforms bool, runs int) int {
		source := registry.New(registry.Options{})
		for i := range 5 {
			if err := registry.MultiArch(int64(i), registry.ImageOptions{Layers: 1, LayerSize: 50}).Push(source, "app", fmt.Sprintf("v%d", i)); err != nil {
				t.Fatal(err)
			}
			digests := []string{source.Digest("app", fmt.Sprintf("v%d", i))}
			if platforms {
				digests = children(t, source, "app", digests[0])
			}
			for _, digest := range digests {
				if signed && i%2 == 0 {
					good.tag(t, source, "app", digest)
				} else if signed {
					good.bundle(t, source, "app", digest, signPredicate)
				}
			}
		}
		h := hub.New(source, hub.Options{Limit: 100, Window: time.Hour})
		server := httptest.NewServer(h)
		defer server.Close()
		host := strings.TrimPrefix(server.URL, "http://")
		policy := ""
		if verify {
			more := "images: ['" + host + "/**']"
			if platforms {
				more += ", signed: platforms"
			}
			policy = "verify:\n" + policyOfConfig("p", more, good)
		}
		config := writeConfig(t, policy, "registries:", "  '"+host+"': {plainHTTP: true, rateLimit: {pullsPerWindow: 100, window: 1h}}", "mappings:",
			mapping("name: app, source: '%s/app', target: 'ocidir://%s/out', tags: ['v*']", host, t.TempDir()))
		want := exitDone
		if verify && !signed {
			want = exitPartly
		}
		for run := range runs {
			if run > 0 {
				if err := source.PutTag("app", fmt.Sprintf("v10%d", run), source.Digest("app", fmt.Sprintf("v%d", run))); err != nil {
					t.Fatal(err)
				}
			}
			if a := dray(t, "sync", "-c", config); a.code != want {
				t.Fatalf("exit code %d\n%s%s", a.code, a.out, a.err)
			}
		}
		if h.Account().Repeated+h.Account().Refused > 0 {
			t.Errorf("%+v", h.Account())
		}
		return h.Account().Pulled
	}
	for _, platforms := range []bool{false, true} {
		for _, runs := range []int{1, 3} {
			if without, with := pulls(false, true, platforms, runs), pulls(true, true, platforms, runs); with != without {
				t.Errorf("signed platforms %v, %d runs: %d pulls with a policy, %d without", platforms, runs, with, without)
			}
		}
	}
	if n := pulls(true, false, false, 2); n != 0 {
		t.Errorf("%d pulls for images that are not signed", n)
	}
	if n := pulls(true, false, true, 2); n != 5 { // the indexes, once
		t.Errorf("%d pulls for 5 images of which no platform is signed", n)
	}
}

// children are the digests that an index names.
func children(t *testing.T, r *registry.Registry, repo, digest string) (list []string) {
	t.Helper()
	_, body, _ := r.Manifest(repo, digest)
	var index struct{ Manifests []struct{ Digest string } }
	if err := json.Unmarshal(body, &index); err != nil || len(index.Manifests) < 2 {
		t.Fatal(err, len(index.Manifests))
	}
	for _, m := range index.Manifests {
		list = append(list, m.Digest)
	}
	return list
}

// TestPolicyPlatforms: with signed: platforms each manifest of the index has to be signed.
func TestPolicyPlatforms(t *testing.T) {
	t.Parallel()
	fulltest.Long(t)
	good := newCosignKey(t, "good.pub")
	source, target := registry.New(registry.Options{Referrers: true}), registry.New(registry.Options{Referrers: true})
	from, to := start(t, source), start(t, target)
	if err := registry.MultiArch(1, registry.ImageOptions{LayerSize: 100}).Push(source, "app", "v1"); err != nil {
		t.Fatal(err)
	}
	below := children(t, source, "app", source.Digest("app", "v1"))
	good.tag(t, source, "app", below[0])
	config := writeConfig(t, "verify:", policyOfConfig("p", "images: ['"+from+"/**'], signed: platforms", good), "mappings:",
		mapping("name: app, source: '%s/app:v1', target: '%s/app'", from, to))
	if a := dray(t, "sync", "-c", config); a.code != exitPartly || target.Digest("app", "v1") != "" || !strings.Contains(a.err+a.out, "nothing signs it (signature.none)") {
		t.Errorf("one of several is signed: exit code %d\n%s%s", a.code, a.out, a.err)
	}
	for _, d := range below[1:] {
		good.bundle(t, source, "app", d, signPredicate)
	}
	if a := dray(t, "sync", "-c", config); a.code != exitDone || target.Digest("app", "v1") != source.Digest("app", "v1") {
		t.Errorf("all are signed: exit code %d\n%s%s", a.code, a.out, a.err)
	}
	if a := dray(t, "verify", from+"/app:v1", "--key", good.file, "--signed", "platforms"); a.code != exitDone || !strings.Contains(a.out, "✓ cosign-tag") {
		t.Errorf("exit code %d\n%s%s", a.code, a.out, a.err)
	}
	if a := dray(t, "verify", from+"/app:v1", "--key", good.file); a.code != exitPartly || !strings.Contains(a.out, "(none)") {
		t.Errorf("the index: exit code %d\n%s%s", a.code, a.out, a.err)
	}
}

// TestPolicyEvents: an image that is pushed first and signed later is imported at the event of its signature, though the schedule is far away. That
// holds too for an event that comes while dray looks for the signature.
func TestPolicyEvents(t *testing.T) {
	fulltest.Long(t)
	t.Parallel()
	good := newCosignKey(t, "good.pub")
	d := newDesk(t)
	source, target := registry.New(registry.Options{}), registry.New(registry.Options{})
	from, to := start(t, source), start(t, target)
	push := func(seed int64, tag string) (digest string) {
		t.Helper()
		if err := registry.SingleArch(seed, "linux/amd64", registry.ImageOptions{LayerSize: 100}).Push(source, "acme/app", tag); err != nil {
			t.Fatal(err)
		}
		return source.Digest("acme/app", tag)
	}
	atStart := push(1, "v1")
	d.write(d.config, strings.Join([]string{
		"version: 1", "stateDir: " + filepath.Join(d.target, "state"), serverLine(d.socket), "receivers:", "- {name: build, type: generic, secret: " + eventSecret + "}",
		"verify:", policyOfConfig("team", "images: ['"+from+"/acme/**']", good),
		"mappings:", mapping("name: app, source: '%s/acme/app', target: '%s/app', tags: ['v*'], schedule: '@every 24h'", from, to),
	}, "\n"))
	r := launch(t, d.config, d.socket)
	refused := func(tag string) bool {
		return slices.ContainsFunc(strings.Split(r.log.String(), "\n"), func(line string) bool {
			return strings.Contains(line, `"msg":"refused"`) && strings.Contains(line, "/app:"+tag+`"`)
		})
	}
	r.until(t, "v1 is refused", func() bool { return refused("v1") })
	s := newSender(t, d.socket)
	event := func(tag string) {
		t.Helper()
		if status := s.build(from + "/acme/app:" + tag); status != http.StatusAccepted {
			t.Errorf("the event of %s: %d", tag, status)
		}
	}
	sign := func(digest string) (tag string) {
		good.tag(t, source, "acme/app", digest)
		return strings.Replace(digest, ":", "-", 1) + ".sig"
	}
	arrives := func(tag, digest string) {
		t.Helper()
		r.until(t, tag+" arrives", func() bool { return target.Digest("app", tag) == digest })
	}
	event(sign(atStart))
	arrives("v1", atStart)
	later := push(2, "v2")
	event("v2")
	r.until(t, "v2 is refused", func() bool { return refused("v2") })
	if target.Digest("app", "v2") != "" {
		t.Error("v2 is imported before it is signed")
	}
	event(sign(later))
	arrives("v2", later)
	third := push(3, "v3")
	event("v3")
	r.until(t, "v3 is refused", func() bool { return refused("v3") })
	good.bundle(t, source, "acme/app", third, signPredicate)
	if status := s.build(from + "/acme/app@" + registry.Sum([]byte("another"))); status != http.StatusOK {
		t.Errorf("the event of an image that nothing waits for: %d", status)
	}
	if status := s.build(from + "/acme/app@" + third); status != http.StatusAccepted {
		t.Errorf("the event of an image that is signed: %d", status)
	}
	arrives("v3", third)

	// An image whose signature comes while it is looked for, and is not seen.
	fourth := push(4, "v4")
	looked, signed := make(chan struct{}), make(chan struct{})
	source.Inject(registry.Fault{Times: 1, Status: http.StatusNotFound, Match: func(r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, strings.TrimPrefix(fourth, "sha256:")+".sig") {
			return false
		}
		close(looked)
		<-signed
		return true
	}})
	event("v4")
	<-looked
	event(sign(fourth))
	close(signed)
	r.until(t, "v4 is refused", func() bool { return refused("v4") })
	arrives("v4", fourth)
}
