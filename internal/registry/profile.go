package registry

import (
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/draysync/dray/internal/image"
)

// uploading is how a registry takes blobs. The zero value, for registries that are not in the table of [uploadingOf], is the
// OCI distribution spec's: one PUT of any size, goes on with PATCH where one broke off, and a POST with the blob in it is worth
// a try.
type uploading struct {
	// whole is the most bytes that one request may carry, 0 for any number; what is larger goes in chunks of that size.
	whole int64
	// unbroken is set where PATCH does not append: a blob goes in one PUT, and one that breaks begins anew.
	unbroken bool
	// separate is set where a POST with the blob in it is not worth a try, and together where it is in any case.
	separate, together bool
}

// uploadingOf is the table of registries that are known to differ. What each line rests on:
//
//   - Azure: a streamed PUT ends above some 20 MB, chunks pass (ocync's engine notes); a POST with the blob is answered 201
//     (OCI conformance run of June 2024).
//   - Artifact Registry and Container Registry of Google: no chunked upload, one PUT (Google's docs; ocync); the single POST is
//     answered 201 (bazel rules_docker, issue 15).
//   - GHCR: of several PATCHes only the last is kept (ocync); one of more than 4 MiB with a Content-Range is answered 416.
//   - Amazon ECR: parts under 5 MiB are refused and a PATCH is answered 201 in place of 202 (kitops, issue 822), so one PUT.
//   - GitLab, Docker Hub: they, or the distribution project's registry below them, answer the single POST 202. So does that
//     registry wherever it is (2.8.2 and 3.1.2 tried), Harbor's among them: its Locations give it away.
func uploadingOf(registry string) uploading {
	host, _, _ := strings.Cut(registry, ":")
	ends := func(suffixes ...string) bool {
		for _, s := range suffixes {
			if strings.HasSuffix("."+host, s) {
				return true
			}
		}
		return false
	}
	switch {
	case ends(".azurecr.io", ".azurecr.cn", ".azurecr.us"):
		return uploading{whole: 16 << 20, together: true}
	case ends(".pkg.dev", ".gcr.io"):
		return uploading{unbroken: true, together: true}
	case ends(".ghcr.io", ".public.ecr.aws"), strings.Contains(host, ".dkr.ecr.") && ends(".amazonaws.com", ".amazonaws.com.cn"):
		return uploading{unbroken: true, separate: true}
	case registry == image.DockerHub, ends(".registry.gitlab.com"):
		return uploading{separate: true}
	}
	return uploading{}
}

// The bounds of a chunk where a registry, or a proxy before it, has answered 413 to more: Cloudflare passes 100 MB.
// brokenChunk and leastBroken are for one to which larger requests break off.
const (
	firstChunk  = 95_000_000
	brokenChunk = 16 << 20
	leastBroken = 256 << 10
	leastChunk  = 1 << 20
	// maxLeast is the largest chunk that a registry may ask for at the least.
	maxLeast = 1 << 30
)

// uploadProfile is what is known about how a registry takes blobs: its row of the table, and what its answers have shown. Safe for concurrent use.
type uploadProfile struct {
	mu      sync.Mutex
	table   uploading
	whole   int64
	least   int64 // the smallest chunk that the registry takes
	takes   bool  // the registry has taken a blob
	single  bool  // a POST with the blob in it has been answered 201
	learned bool  // single is known
	trying  bool  // one such POST is under way
	noMount bool  // the registry takes no mount that does not say from where
	beyond  bool  // it counts one byte more than it has
	torn    int   // requests for a whole blob that broke off, since one has come through
}

func newUploadProfile(table uploading) *uploadProfile {
	return &uploadProfile{table: table, whole: table.whole}
}

// chunk returns the size of the chunks in which a blob of a size is to be sent, 0 for one request.
func (p *uploadProfile) chunk(size int64) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.whole == 0 || size <= p.whole {
		return 0
	}
	return max(p.whole, p.least)
}

// resumes tells whether PATCH appends.
func (p *uploadProfile) resumes() bool { return !p.table.unbroken }

// tooLarge learns from an answer 413 to a request of so many bytes, and tells whether a smaller one is worth a try.
func (p *uploadProfile) tooLarge(sent int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	least := max(leastChunk, p.least)
	if p.table.unbroken || sent <= least {
		return false
	}
	p.narrow(max(min(sent/2, firstChunk), least))
	return true
}

// tore learns that a request for a whole blob broke off after so many bytes, and that what had come was lost. The second time smaller ones
// are worth a try.
func (p *uploadProfile) tore(sent int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.torn++; p.torn > 1 && !p.table.unbroken {
		p.narrow(max(min(sent/2, brokenChunk), leastBroken, p.least))
	}
}

// narrow bounds what one request carries. The lock is held.
func (p *uploadProfile) narrow(whole int64) {
	if p.whole == 0 || whole < p.whole {
		p.whole = whole
	}
}

// mounts tells whether a mount that does not say from where is worth a try, and refusedMount that it is not.
func (p *uploadProfile) mounts() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.noMount
}

func (p *uploadProfile) refusedMount() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.noMount = true
}

// counts learns from what a registry says to have once a part has come: some name the first byte that they lack where the last that they
// have is wanted. It returns what the registry has.
func (p *uploadProfile) counts(has, sent int64) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.beyond = p.beyond || has == sent+1
	if p.beyond && has == sent+1 {
		return sent
	}
	return has
}

// countsBeyond notes that a registry may count one byte more than it has: it did not take what comes after what it said to have.
func (p *uploadProfile) countsBeyond() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.beyond = true
}

// has returns what a registry has of an upload of so many bytes, by what it says.
func (p *uploadProfile) has(says, size int64) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if says > 0 && (p.beyond || says == size+1) {
		return says - 1
	}
	return says
}

// started learns from the answer to the start of an upload (OCI distribution spec, "Pushing a blob in chunks"). The distribution
// project's registry, which knows no POST with the blob in it, keeps where an upload is in the Location, as _state.
func (p *uploadProfile) started(header http.Header) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if least, ok := number(header.Get("OCI-Chunk-Min-Length")); ok && least <= maxLeast {
		p.least = least
	}
	location, err := url.Parse(header.Get("Location"))
	if err == nil && location.Query().Has("_state") && !p.table.together && !p.learned {
		p.single, p.learned = false, true
	}
}

// completed notes that the registry has taken a blob.
func (p *uploadProfile) completed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.takes, p.torn = true, 0
}

// trySingle tells whether to send a small blob with the POST that starts its upload: not before the registry has taken one, which
// it may refuse to. Until it has answered one such POST, one at a time is tried.
func (p *uploadProfile) trySingle() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.table.separate || !p.takes || p.learned && !p.single || !p.learned && p.trying {
		return false
	}
	p.trying = true
	return true
}

// triedSingle learns from the answer; status is 0 where none came.
func (p *uploadProfile) triedSingle(status int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trying = false
	switch {
	case status == http.StatusCreated:
		p.single, p.learned = true, true
	case status == 0, status == http.StatusUnauthorized, status == http.StatusTooManyRequests, status >= http.StatusInternalServerError: // says nothing of the registry's ways
	default:
		p.single, p.learned = false, true
	}
}
