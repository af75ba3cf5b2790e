package registry

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/draysync/dray/internal/image"
)

// uploading says how a registry accepts blobs. The zero value, for registries outside the table of [uploadingOf], follows the OCI
// distribution spec: one PUT of any size, resumed with PATCH, and a try of the POST with the blob in it.
type uploading struct {
	// whole is the largest request body that the registry accepts, 0 for any; larger blobs go in chunks of that size.
	whole int64
	// unbroken is set if PATCH does not append: a blob goes in one PUT, and starts over if that breaks off.
	unbroken bool
	// separate is set if a POST with the blob is not worth a try, together if it always is.
	separate, together bool
}

// uploadingOf is the table of registries that are known to differ, with the evidence for each line:
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
	_, ecr := image.ParseECR(host)
	switch {
	case ends(".azurecr.io", ".azurecr.cn", ".azurecr.us"):
		return uploading{whole: 16 << 20, together: true}
	case ends(".pkg.dev", ".gcr.io"):
		return uploading{unbroken: true, together: true}
	case ecr, ends(".ghcr.io"):
		return uploading{unbroken: true, separate: true}
	case registry == image.DockerHub, ends(".registry.gitlab.com"):
		return uploading{separate: true}
	}
	return uploading{}
}

// The limits of a chunk where a registry, or a proxy before it, answers 413 to more: Cloudflare passes 100 MB, nginx 1 MiB. brokenChunk
// is for one that breaks larger requests off. No chunk is smaller than leastBroken.
const (
	firstChunk  = 95_000_000
	brokenChunk = 16 << 20
	leastBroken = 256 << 10
	leastChunk  = 1 << 20
	// maxLeast limits the minimum chunk size that a registry may ask for.
	maxLeast = 1 << 30
)

// uploadProfile is what is known about how a registry accepts blobs: its row of the table, and what its answers have shown. It is safe for
// concurrent use.
type uploadProfile struct {
	mu      sync.Mutex
	table   uploading
	whole   int64
	least   int64 // the smallest chunk that the registry accepts
	takes   bool  // the registry has accepted a blob
	single  bool  // a POST with the blob was answered 201
	learned bool  // single is known
	trying  bool  // one such POST is under way
	noMount bool  // the registry refuses mounts that name no source
	mounts  trait // it fails at mounts, and begins the upload without
	singles trait // it fails at POSTs with the blob, and begins the upload without
	beyond  bool  // it counts one byte more than it has
	torn    int   // requests whose bytes were lost since the last blob that was accepted
}

func newUploadProfile(table uploading) *uploadProfile {
	return &uploadProfile{table: table, whole: table.whole}
}

// chunk returns the chunk size for a blob, 0 for one request.
func (p *uploadProfile) chunk(size int64) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.whole == 0 || size <= p.whole {
		return 0
	}
	return max(p.whole, p.least)
}

// resumes reports whether PATCH appends.
func (p *uploadProfile) resumes() bool { return !p.table.unbroken }

// tooLarge records a 413 to a request of so many bytes, and reports whether a smaller one is worth a try.
func (p *uploadProfile) tooLarge(sent int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	least := max(leastBroken, p.least)
	if p.table.unbroken || sent <= least {
		return false
	}
	if sent > leastChunk { // the usual limit is tried before a smaller one
		least = max(leastChunk, p.least)
	}
	p.narrow(max(min(sent/2, firstChunk), least))
	return true
}

// size returns how large a request may be, 0 for any size; widen restores it after smaller ones were refused like those before.
func (p *uploadProfile) size() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.whole
}

func (p *uploadProfile) widen(whole int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.whole = whole
}

// tore records that a request with a whole blob broke off after so many bytes, which were lost. After the second time, smaller requests are
// tried.
func (p *uploadProfile) tore(sent int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.torn++; p.torn > 1 && !p.table.unbroken {
		p.narrow(max(min(sent/2, brokenChunk), leastBroken, p.least))
	}
}

// swallowed records that a request of so many bytes broke off, and that the registry has none of them: a proxy may close the connection
// instead of answering 413, or pass on only what has arrived completely. After the second time, smaller requests are tried; they reach
// leastChunk within the usual five attempts.
func (p *uploadProfile) swallowed(size int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	least := int64(leastChunk)
	if size <= least {
		least = leastBroken
	}
	if p.torn++; p.torn > 1 && !p.table.unbroken {
		p.narrow(max(min(size/4, brokenChunk), least, p.least))
	}
}

// narrow limits the size of a request. The caller holds the lock.
func (p *uploadProfile) narrow(whole int64) {
	if p.whole == 0 || whole < p.whole {
		p.whole = whole
	}
}

// mountsAny reports whether a mount that names no source is worth a try; refusedMount records that it is not.
func (p *uploadProfile) mountsAny() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.noMount && !p.mounts.shown()
}

func (p *uploadProfile) refusedMount() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.noMount = true
}

// mountsFrom reports whether a mount that names its source is worth a try.
func (p *uploadProfile) mountsFrom() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.mounts.shown()
}

// failed records that the registry began an upload after it had failed at one with a mount, or with the blob; sure is set if that was no outage.
func (p *uploadProfile) failed(mount, sure bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if mount {
		p.mounts.failed(sure)
	} else {
		p.singles.failed(sure)
	}
}

// answered records that the registry did not fail at a POST with a mount, or with the blob.
func (p *uploadProfile) answered(mount bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if mount {
		p.mounts = trait{}
	} else {
		p.singles = trait{}
	}
}

// trait is something at which a registry may always fail. What fails may also be an outage that ends before the next request.
type trait struct {
	outages int
	last    time.Time
}

const (
	// maxOutages is how many outages there are until failures are a trait, and outage is how long one may be.
	maxOutages = 2
	outage     = time.Minute
	// traitLasts is after how long it is tried again.
	traitLasts = time.Hour
)

func (t *trait) failed(sure bool) {
	switch {
	case sure:
		*t = trait{maxOutages, time.Now()}
	case t.outages == 0 || time.Since(t.last) >= outage:
		t.outages++
		t.last = time.Now()
	}
}

func (t *trait) shown() bool { return t.outages >= maxOutages && time.Since(t.last) < traitLasts }

// counts checks the Range that a registry returns for a part: some name the first byte that they lack instead of the last that they have.
// It returns what the registry has.
func (p *uploadProfile) counts(has, sent int64) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.beyond = p.beyond || has == sent+1
	if p.beyond && has == sent+1 {
		return sent
	}
	return has
}

// countsBeyond records that a registry may count one byte more than it has: it refused the bytes after those that it named.
func (p *uploadProfile) countsBeyond() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.beyond = true
}

// has returns how much of an upload a registry has, given what it says.
func (p *uploadProfile) has(says, size int64) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if says > 0 && (p.beyond || says == size+1) {
		return says - 1
	}
	return says
}

// started reads the answer to the start of an upload (OCI distribution spec, "Pushing a blob in chunks"). The distribution project's
// registry, which does not know the POST with the blob, keeps the state of an upload as _state in its Location.
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

// completed records that the registry accepted a blob.
func (p *uploadProfile) completed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.takes, p.torn = true, 0
}

// trySingle reports whether to send a small blob with the POST that starts its upload. The registry must have accepted a blob before, since
// it may refuse them all. Until it has answered one such POST, only one at a time is tried.
func (p *uploadProfile) trySingle() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.table.separate || !p.takes || p.singles.shown() || p.learned && !p.single || !p.learned && p.trying {
		return false
	}
	p.trying = true
	return true
}

// triedSingle records the answer; status is 0 if none came.
func (p *uploadProfile) triedSingle(status int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trying = false
	switch {
	case status == http.StatusCreated:
		p.single, p.learned = true, true
	case status == 0, status == http.StatusUnauthorized, status == http.StatusTooManyRequests, status >= http.StatusInternalServerError: // says nothing about the registry
	default:
		p.single, p.learned = false, true
	}
}
