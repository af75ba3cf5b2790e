package azure

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The states of an import.
const (
	StatePending   = "Pending"
	StateSucceeded = "Succeeded"
	StateFailed    = "Failed"
)

// Import is one that was accepted, or is about to be.
type Import struct {
	ID     string // without "registries-"
	Target string // name of the registry
	Source string // HOST/REPOSITORY@DIGEST or HOST/REPOSITORY:TAG
	// TargetTags are REPOSITORY:TAG, with the tag filled in where it was left out; Untagged are repositories.
	TargetTags, Untagged []string
	Mode                 string // NoForce or Force
	// Body is that of the POST, to the byte. It may have credentials in it.
	Body string
	// RequestID is the client's x-ms-client-request-id.
	RequestID string

	State   string
	Failure *Failure // where the state is Failed
	Polls   int
	// Digest is what the source was found to be.
	Digest string
	// Manifests and Blobs are how many were copied into the first repository, Bytes the blobs' size.
	Manifests, Blobs int
	Bytes            int64
	Started, Ended   time.Time
}

// operation is an import under way.
type operation struct {
	cloud    *Cloud
	target   *Registry
	order    order
	behavior Behavior
	version  string // of the API

	mu     sync.Mutex
	record Import
	serial int       // of the newest Location
	next   time.Time // when the next poll is due
	done   chan struct{}
}

func (op *operation) snapshot() Import {
	op.mu.Lock()
	defer op.mu.Unlock()
	return op.record
}

var guid = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// serveImport is importImage.
func (c *Cloud) serveImport(k call, group, registryName string) *Failure {
	target, failure := c.resource(k, group, registryName, actionImport)
	if failure != nil {
		return failure
	}
	raw, o, failure := readOrder(k.r, target)
	if failure != nil {
		return failure
	}
	if o.resourceID != "" && !c.may(k.who.Object, actionRead, o.resourceID) {
		return linkedForbidden(k.who, target.ID(), o.resourceID)
	}
	if o.resourceID != "" && c.byID(o.resourceID) == nil {
		return resourceMissing(o.resourceID[strings.LastIndexByte(o.resourceID, '/')+1:], "")
	}
	op := &operation{cloud: c, target: target, order: o, version: k.r.URL.Query().Get("api-version"), done: make(chan struct{})}
	op.record = Import{
		ID: newGUID(), Target: target.Name(), Source: o.source(c), Untagged: o.untagged, Mode: "NoForce", Body: string(raw),
		RequestID: k.r.Header.Get("X-Ms-Client-Request-Id"), State: StatePending, Started: time.Now(),
	}
	for _, n := range o.tags {
		op.record.TargetTags = append(op.record.TargetTags, n.String())
	}
	if o.force {
		op.record.Mode = "Force"
	}
	c.name(op)
	op.behavior = c.behave(op.record)
	if op.behavior.Refuse != nil {
		return op.behavior.Refuse
	}
	c.start(op)
	op.accept(k)
	return nil
}

// name gives the operation the client's request ID if that is a GUID which no operation has.
func (c *Cloud) name(op *operation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	wanted := strings.ToLower(op.record.RequestID)
	if _, taken := c.operations[wanted]; guid.MatchString(wanted) && !taken {
		op.record.ID = wanted
	}
}

// start lets the import run.
func (c *Cloud) start(op *operation) {
	c.mu.Lock()
	c.operations[op.record.ID] = op
	c.history = append(c.history, op)
	c.mu.Unlock()
	op.target.mu.Lock()
	op.target.busy++
	busy := op.target.busy
	op.target.mu.Unlock()
	c.mu.Lock()
	c.highest[op.record.Target] = max(c.highest[op.record.Target], busy)
	c.mu.Unlock()
	c.running.Add(1)
	go func() {
		defer c.running.Done()
		op.run(c.ctx)
	}()
}

// accept answers the POST.
func (op *operation) accept(k call) {
	b := op.behavior
	switch {
	case b.Lose:
		panic(http.ErrAbortHandler)
	case b.Sync:
		select {
		case <-op.done:
		case <-k.r.Context().Done():
			panic(http.ErrAbortHandler)
		}
		if now := op.snapshot(); now.State == StateFailed {
			op.finish(k, now)
			return
		}
		writeJSON(k.w, http.StatusOK, map[string]any{})
		return
	}
	op.pending(k, b.Accepted)
}

// pending answers 202, with a new Location.
func (op *operation) pending(k call, body Body) {
	after := op.behavior.retryAfter()
	op.mu.Lock()
	op.serial++
	location := op.location(k.r, op.serial)
	op.next = time.Now().Add(after)
	op.mu.Unlock()
	k.w.Header().Set("Location", location)
	if after > 0 {
		k.w.Header().Set("Retry-After", strconv.Itoa(int((after+time.Second-1)/time.Second)))
	}
	switch body {
	case JSONBody:
		document := map[string]string{"status": "Accepted"}
		for _, tag := range op.snapshot().TargetTags {
			document[tag] = StatePending
		}
		writeJSON(k.w, http.StatusAccepted, document)
		return
	case NullBody:
		k.w.Header().Set("Content-Type", "application/json; charset=utf-8")
	case EmptyBody:
	}
	k.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	k.w.WriteHeader(http.StatusAccepted)
	_, _ = k.w.Write([]byte(body)) // an error is the client's leaving
}

// location makes the URL to poll; the caller holds the lock. It is as long as those that were recorded.
func (op *operation) location(r *http.Request, serial int) string {
	at := op.path()
	here, _ := url.Parse(origin(r)) // a host that net/http took
	if op.behavior.LocationHost != "" {
		here.Host = op.behavior.LocationHost
	}
	ticks := strconv.FormatInt(time.Now().UnixNano()/100+int64(serial), 10)
	sum := sha256.Sum256([]byte(op.record.ID + ticks))
	query := "api-version=" + op.version + "&t=" + ticks + "&c=" + filler(op.record.ID+"c", 2900) +
		"&s=" + op.signature(serial, ticks) + filler(ticks, 280) + "&h=" + encode64(sum[:])
	return here.Scheme + "://" + here.Host + at + "?" + query
}

func (op *operation) path() string {
	return "/subscriptions/" + op.target.subscription.ID + "/providers/Microsoft.ContainerRegistry/locations/" +
		strings.ToUpper(op.target.settings().Location) + "/operationResults/registries-" + op.record.ID
}

// signature has the serial in front and 43 letters behind it.
func (op *operation) signature(serial int, ticks string) string {
	return strconv.Itoa(serial) + "-" + op.cloud.seal(op.record.ID+" "+strconv.Itoa(serial)+" "+ticks)
}

// filler makes n letters as base64 has them, the same for the same seed.
func filler(seed string, n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		sum := sha256.Sum256([]byte(seed + strconv.Itoa(i)))
		b.WriteString(encode64(sum[:]))
	}
	return b.String()[:n]
}

// servePoll tells how an import goes.
func (c *Cloud) servePoll(k call, operationName string) *Failure {
	c.mu.Lock()
	c.polls++
	op, known := c.operations[strings.TrimPrefix(operationName, "registries-")]
	c.mu.Unlock()
	if !known || !strings.EqualFold(op.target.subscription.ID, k.path[1]) {
		return &Failure{Status: http.StatusNotFound, Code: "OperationNotFound", Message: "The operation '" + operationName + "' was not found."}
	}
	query := k.r.URL.Query()
	text, _, _ := strings.Cut(query.Get("s"), "-")
	serial, _ := strconv.Atoi(text) // another text has no valid signature
	op.mu.Lock()
	valid := strings.HasPrefix(query.Get("s"), op.signature(serial, query.Get("t")))
	newest := serial == op.serial
	early := time.Now().Before(op.next)
	op.record.Polls++
	op.mu.Unlock()
	if early {
		c.mu.Lock()
		c.early++
		c.mu.Unlock()
	}
	if !valid || op.behavior.Newest && !newest {
		return &Failure{Status: http.StatusForbidden, Code: "InvalidOperationLocation", Message: "The signature of the operation's location is not valid."}
	}
	now := op.snapshot()
	if now.State == StatePending || op.behavior.Silent {
		op.pending(k, JSONBody)
		return nil
	}
	op.finish(k, now)
	return nil
}

// finish answers for an import that has ended.
func (op *operation) finish(k call, now Import) {
	failure := op.described(now)
	switch {
	case failure != nil && op.behavior.FailedOK:
		writeJSON(k.w, http.StatusOK, map[string]any{
			"status": StateFailed, "error": map[string]string{"code": failure.Code, "message": failure.Message},
		})
	case failure != nil:
		failure.write(k.w)
	case op.behavior.Done == http.StatusNoContent:
		k.w.WriteHeader(http.StatusNoContent)
	default:
		writeJSON(k.w, http.StatusOK, map[string]string{"status": StateSucceeded})
	}
}

// described is the failure as it is told: its text names the target, whichever side is to blame.
func (op *operation) described(now Import) *Failure {
	if now.Failure == nil {
		return nil
	}
	f := *now.Failure
	if !f.Bare {
		f.Message = fmt.Sprintf("Operation registries-%s failed. Resource %s %s", now.ID, op.target.ID(), f.Message)
	}
	return &f
}

// serveTrap is whoever a wrong Location names: it says what one wants to hear.
func serveTrap(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"status": StateSucceeded})
}
