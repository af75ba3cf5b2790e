package main

import (
	"bytes"
	"database/sql"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/draysync/dray/internal/emulator/hub"
	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/layout"
	"github.com/draysync/dray/internal/store"
)

// hung is a process in front of somebody who hangs, and what the two need.
type hung struct {
	t          *testing.T
	title, dir string
	// source and target are what the mapping names; lines are the rest of the config.
	source, target, more string
	lines                []string
	env                  []string
	stderr               *os.File // nil for a buffer
	// arrived is told when the process has come to where it hangs; over is closed when all is over.
	arrived chan struct{}
	over    chan struct{}
	once    sync.Once
	// started is what to do once the process runs; nil for nothing.
	started func(process *os.Process)
	// args are what the command takes; defers says that it has come there when something is deferred.
	args   []string
	defers bool
}

func (h *hung) arrive() { h.once.Do(func() { close(h.arrived) }) }

// hang keeps whoever calls it until all is over.
func (h *hung) hang() {
	h.arrive()
	<-h.over
}

// listen accepts connections that serve gets.
func (h *hung) listen(serve func(net.Conn)) (address string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		h.t.Error(err)
		return ""
	}
	h.t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				serve(conn)
			}()
		}
	}()
	return l.Addr().String()
}

// silent takes connections, reads the first bytes that come, and never answers.
func (h *hung) silent() (address string) {
	return h.listen(func(conn net.Conn) {
		if n, _ := conn.Read(make([]byte, 1)); n > 0 {
			h.hang()
		}
	})
}

// serve answers requests by a handler; what it does not hang at is for the registry behind it.
func (h *hung) serve(behind http.Handler, front func(w http.ResponseWriter, r *http.Request) bool) (host string) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !front(w, r) {
			behind.ServeHTTP(w, r)
		}
	}))
	h.t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	return strings.TrimPrefix(server.URL, "http://")
}

// at hangs at requests of a method whose path has a part.
func (h *hung) at(method, part string) func(http.ResponseWriter, *http.Request) bool {
	return func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == method && strings.Contains(r.URL.Path, part) {
			h.hang()
		}
		return false
	}
}

// dribble writes a byte now and then, until all is over or nobody reads.
func (h *hung) dribble(w io.Writer) {
	h.arrive()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-h.over:
			return
		}
		if _, err := io.WriteString(w, " "); err != nil {
			return
		}
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
	}
}

// token is a registry that sends everybody to a token server.
func (h *hung) token(serve func(w http.ResponseWriter)) {
	h.source = h.serve(h.content(), func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/token" {
			serve(w)
			return true
		}
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="x"`, r.Host))
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}) + "/app"
	h.lines = append(h.lines, fmt.Sprintf("registries: {'%s': {plainHTTP: true, username: u, password: p}}", strings.TrimSuffix(h.source, "/app")))
}

// content is a registry with one image of some size.
func (h *hung) content() *registry.Registry {
	r := registry.New(registry.Options{})
	if err := registry.SingleArch(1, "linux/amd64", registry.ImageOptions{Layers: 1, LayerSize: 300_000}).Push(r, "app", "v1"); err != nil {
		h.t.Error(err)
	}
	return r
}

// good serves an image as it should be.
func (h *hung) good() (host string) {
	return h.serve(h.content(), func(http.ResponseWriter, *http.Request) bool { return false })
}

// taking is a target that hangs.
func (h *hung) taking(front func(http.ResponseWriter, *http.Request) bool) {
	h.source = h.good() + "/app"
	h.target = h.serve(registry.New(registry.Options{}), front) + "/app"
}

// blocked is a file to which no write ends: a full pipe.
func (h *hung) blocked() *os.File {
	r, w, err := os.Pipe()
	if err != nil {
		h.t.Error(err)
		return nil
	}
	h.t.Cleanup(func() { _, _ = r.Close(), w.Close() })
	raw, err := w.SyscallConn()
	if err != nil {
		h.t.Error(err)
		return nil
	}
	err = raw.Control(func(fd uintptr) {
		for chunk := make([]byte, 1<<12); len(chunk) > 0; { // what does not fit by the page may fit by the byte
			if _, err := syscall.Write(int(fd), chunk); err != nil {
				chunk = chunk[:len(chunk)/2]
			}
		}
	})
	if err != nil {
		h.t.Error(err)
	}
	return w
}

// fill writes messages to a socket until there is no room, and returns how many there was room for.
func (h *hung) fill(path string) (messages int) {
	conn, err := net.Dial("unixgram", path)
	if err != nil {
		h.t.Error(err)
		return 0
	}
	h.t.Cleanup(func() { _ = conn.Close() })
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		h.t.Error(err)
		return 0
	}
	_ = raw.Write(func(fd uintptr) bool {
		for {
			if _, err := syscall.Write(int(fd), []byte("STATUS=full")); err != nil {
				return true
			}
			messages++
		}
	})
	return messages
}

// filled waits until no more comes of what nobody reads.
func (h *hung) filled(conn net.Conn) {
	raw, err := conn.(*net.UnixConn).SyscallConn()
	for last := -1; err == nil; {
		unread := 0
		err = raw.Control(func(fd uintptr) { unread, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) }) // 0 is looked at again
		if unread > 0 && unread == last {
			h.arrive()
			return
		}
		last = unread
		select {
		case <-time.After(50 * time.Millisecond):
		case <-h.over:
			return
		}
	}
}

// asking has somebody ask the daemon's server, as ask does, from when it listens.
func (h *hung) asking(ask func(conn net.Conn)) {
	socket := filepath.Join(h.dir, "s")
	h.source, h.lines = h.good()+"/app", append(h.lines, serverLine(socket))
	h.started = func(*os.Process) {
		for {
			if conn, err := net.Dial("unix", socket); err == nil {
				h.t.Cleanup(func() { _ = conn.Close() })
				ask(conn)
				return
			}
			select {
			case <-time.After(10 * time.Millisecond):
			case <-h.over:
				return
			}
		}
	}
}

// opened waits until the process has a file open of which the name ends so.
func (h *hung) opened(process *os.Process, suffix string) {
	for {
		entries, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", process.Pid))
		for _, entry := range entries {
			if name, _ := os.Readlink(entry); strings.HasSuffix(name, suffix) {
				h.arrive()
				return
			}
		}
		select {
		case <-time.After(time.Millisecond):
		case <-h.over:
			return
		}
	}
}

// kind is a way to hang, and which commands come to where it does.
type kind struct {
	commands string
	prepare  func(h *hung)
}

func kinds() map[string]kind {
	const all, importing, daemon, waiting = "run|plan", "run|sync", "run", "run|sync --wait"
	return map[string]kind{
		"accepts and is silent": {all, func(h *hung) { h.source = h.silent() + "/app" }},
		"silent in the handshake": {all, func(h *hung) {
			h.source = h.silent() + "/app"
			h.lines = append(h.lines, fmt.Sprintf("registries: {'%s': {tls: {insecureSkipVerify: true}}}", strings.TrimSuffix(h.source, "/app")))
		}},
		"no headers": {all, func(h *hung) { h.source = h.serve(h.content(), h.at(http.MethodHead, "/manifests/")) + "/app" }},
		"headers dribble": {all, func(h *hung) {
			h.source = h.listen(func(conn net.Conn) {
				_, _ = conn.Read(make([]byte, 4096))
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nX-Slow: ")
				h.dribble(conn)
			}) + "/app"
		}},
		"list dribbles": {all, func(h *hung) {
			h.more = ", tags: ['v*']"
			h.source = h.serve(h.content(), func(w http.ResponseWriter, r *http.Request) bool {
				if strings.HasSuffix(r.URL.Path, "/tags/list") {
					h.dribble(w)
					return true
				}
				return false
			}) + "/app"
		}},
		"token server is silent":  {all, func(h *hung) { h.token(func(http.ResponseWriter) { h.hang() }) }},
		"token server dribbles":   {all, func(h *hung) { h.token(func(w http.ResponseWriter) { h.dribble(w) }) }},
		"token server has no end": {all, func(h *hung) { h.token(func(w http.ResponseWriter) { h.flood(w) }) }},
		"token server asks for hours": {waiting, func(h *hung) {
			h.defers = true
			h.token(func(w http.ResponseWriter) {
				w.Header().Set("Retry-After", "3600")
				w.WriteHeader(http.StatusInternalServerError)
			})
		}},
		"registry asks for hours": {waiting, func(h *hung) {
			h.defers = true
			h.source = h.serve(h.content(), func(w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set("Retry-After", "7200")
				w.WriteHeader(http.StatusServiceUnavailable)
				return true
			}) + "/app"
		}},
		"blob stops in the middle": {importing, func(h *hung) { h.source = h.half() }},
		"blob stops, for a layout": {importing, func(h *hung) { h.source, h.target = h.half(), "ocidir://"+h.dir+"/out" }},
		"redirect to silence": {importing, func(h *hung) {
			store := h.silent()
			h.source = h.serve(h.content(), func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.Contains(r.URL.Path, "/blobs/") {
					return false
				}
				http.Redirect(w, r, "http://"+store+"/blob", http.StatusTemporaryRedirect)
				return true
			}) + "/app"
			h.lines = append(h.lines, fmt.Sprintf("registries: {'%s': {plainHTTP: true}}", strings.TrimSuffix(h.source, "/app")))
		}},
		"mirror is silent": {importing, func(h *hung) {
			host, mirror := h.good(), h.silent()
			h.source = host + "/app"
			h.lines = append(h.lines, fmt.Sprintf("registries: {'%s': {plainHTTP: true, mirrors: ['%s']}, '%s': {plainHTTP: true}}", host, mirror, mirror))
		}},
		"upload does not begin": {importing, func(h *hung) { h.taking(h.at(http.MethodPost, "/uploads/")) }},
		"upload is not answered": {importing, func(h *hung) {
			h.taking(func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/uploads/") {
					_, _ = io.Copy(io.Discard, r.Body)
					h.hang()
				}
				return false
			})
		}},
		"manifest is not answered": {importing, func(h *hung) { h.taking(h.at(http.MethodPut, "/manifests/")) }},
		"credential helper": {all, func(h *hung) {
			h.source = "registry.example.com/app"
			h.lines = append(h.lines, "registries: {registry.example.com: {credentialHelper: hangs}}")
			_ = os.MkdirAll(filepath.Join(h.dir, "bin"), 0o700)
			script := "#!/bin/sh\ntrap '' TERM INT\n(trap '' TERM INT; exec sleep 20) &\n: > " + h.dir + "/asked\nsleep 20\n"
			writeProgram(h.t, filepath.Join(h.dir, "bin", "docker-credential-hangs"), script)
			h.env = append(h.env, "PATH="+filepath.Join(h.dir, "bin")+":"+os.Getenv("PATH"))
			h.started = func(*os.Process) { h.appears(filepath.Join(h.dir, "asked")) }
		}},
		"webhook is silent": {daemon, func(h *hung) {
			h.source = "127.0.0.1:1/app"
			h.lines = append(h.lines, "notifications: [{webhook: 'http://"+h.silent()+"/hook'}]")
		}},
		"proxy is silent": {all, func(h *hung) {
			h.source = "registry.example.com/app"
			h.env = append(h.env, "HTTPS_PROXY=http://"+h.silent())
		}},
		"sign-in to Azure is silent": {all, func(h *hung) {
			h.source = "example.azurecr.io/app"
			h.env = append(h.env, "HTTPS_PROXY=http://"+h.listen(func(conn net.Conn) {
				head := make([]byte, 4096)
				if n, _ := conn.Read(head); strings.HasPrefix(string(head[:n]), "CONNECT login.microsoftonline.com") {
					h.hang()
				}
				<-h.over
			}))
			h.lines = append(h.lines, "registries: {example.azurecr.io: {azure: {}}}",
				"azure: {credential: {kind: client-secret, tenantID: "+azureTenant+", clientID: "+azureClient+", clientSecret: s}}")
		}},
		"pipe in a layout": {daemon, func(h *hung) {
			dir := filepath.Join(h.dir, "in")
			if err := os.Mkdir(dir, 0o700); err != nil {
				h.t.Error(err)
			}
			if err := syscall.Mkfifo(filepath.Join(dir, "index.json"), 0o600); err != nil {
				h.t.Error(err)
			}
			h.source = "ocidir://" + dir
			h.lines = append(h.lines, "notifications: [{webhook: 'http://"+h.silent()+"/hook'}]")
		}},
		"a budget is used up": {waiting, func(h *hung) {
			h.defers = true
			server := httptest.NewServer(hub.New(h.content(), hub.Options{Limit: 1, Window: time.Hour}))
			h.t.Cleanup(server.Close)
			host := strings.TrimPrefix(server.URL, "http://")
			h.source = host + "/app"
			h.lines = append(h.lines, "registries: {'"+host+"': {plainHTTP: true, rateLimit: {keep: 1, pullsPerWindow: 1, window: 1h}}}")
		}},
		"our client sends half a request": {daemon, func(h *hung) {
			h.asking(func(conn net.Conn) {
				_, _ = io.WriteString(conn, "GET /api/v1/history HTTP/1.1\r\nHost:")
				h.arrive()
			})
		}},
		"our client reads nothing": {daemon, func(h *hung) {
			h.asking(func(conn net.Conn) {
				go func() { _, _ = io.WriteString(conn, strings.Repeat("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 5000)) }()
				h.filled(conn)
			})
		}},
		"service manager reads nothing": {daemon, func(h *hung) {
			path := filepath.Join(h.dir, "notify")
			socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
			if err != nil {
				h.t.Error(err)
				return
			}
			h.t.Cleanup(func() { _ = socket.Close() })
			for h.fill(path) > 0 { // one connection may have room for less than the socket
			}
			h.source, h.env = h.silent()+"/app", append(h.env, "NOTIFY_SOCKET="+path)
		}},
		"store is taken": {all, func(h *hung) {
			h.source = h.good() + "/app"
			state := filepath.Join(h.dir, "state")
			if err := os.Mkdir(state, 0o700); err != nil {
				h.t.Error(err)
			}
			h.lock(filepath.Join(state, "dray.db.lock"))
		}},
		"store is busy": {importing, func(h *hung) {
			h.source = h.good() + "/app"
			h.keep()
			h.started = func(p *os.Process) { h.opened(p, "dray.db") }
		}},
		"sign-in is silent":  {"check --online", func(h *hung) { h.source = h.silent() + "/app" }},
		"import is silent":   {"import", func(h *hung) { h.args = []string{h.silent() + "/app:v1", "ocidir://" + h.dir + "/out"} }},
		"daemon is silent":   {"status", func(h *hung) { h.args = []string{"--server", h.silent()} }},
		"nobody writes it":   {"convert", func(h *hung) { h.args = []string{h.pipe()} }},
		"layout is long":     {"layout verify", func(h *hung) { h.args = []string{h.long()} }},
		"layout is long too": {"layout repair", func(h *hung) { h.args = []string{h.long()} }},
		"layout is taken": {"layout gc", func(h *hung) {
			dir := h.long()
			h.args = []string{dir}
			h.lock(filepath.Join(dir, ".dray-lock"))
		}},
		"nobody reads the log": {all, func(h *hung) {
			h.source, h.stderr = h.silent()+"/app", h.blocked()
		}},
	}
}

// lock takes a lock file, as another process does. Who waits for it may have it open for an instant each time that it tries, so the
// kernel tells when it was opened.
func (h *hung) lock(path string) {
	file, err := os.Create(path)
	if err != nil {
		h.t.Error(err)
		return
	}
	h.t.Cleanup(func() { _ = file.Close() })
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		h.t.Error(err)
	}
	fd, err := syscall.InotifyInit1(syscall.IN_CLOEXEC | syscall.IN_NONBLOCK)
	if err == nil {
		_, err = syscall.InotifyAddWatch(fd, path, syscall.IN_OPEN)
	}
	if err != nil {
		h.t.Error(err)
		return
	}
	opens := os.NewFile(uintptr(fd), "opens")
	h.t.Cleanup(func() { _ = opens.Close() })
	h.started = func(*os.Process) {
		if _, err := opens.Read(make([]byte, 4096)); err == nil {
			h.arrive()
		}
	}
}

// keep makes a store, and keeps others from writing to it.
func (h *hung) keep() {
	dir := filepath.Join(h.dir, "state")
	made, err := store.Open(h.t.Context(), dir, store.Options{Now: time.Now})
	if err == nil {
		err = made.Close()
	}
	if err != nil {
		h.t.Error(err)
		return
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, "dray.db"))
	if err != nil {
		h.t.Error(err)
		return
	}
	h.t.Cleanup(func() { _ = db.Close() })
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(h.t.Context(), "BEGIN IMMEDIATE"); err != nil {
		h.t.Error(err)
	}
}

// pipe is one that somebody has opened to write to, and does not.
func (h *hung) pipe() (path string) {
	path = filepath.Join(h.dir, "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		h.t.Error(err)
	}
	h.started = func(*os.Process) {
		if w, err := os.OpenFile(path, os.O_WRONLY, 0); err == nil { // once somebody reads
			h.hang()
			_ = w.Close()
		}
	}
	return path
}

// long is a layout that takes hours to read.
func (h *hung) long() (dir string) {
	dir = filepath.Join(h.dir, "long")
	digest := strings.Repeat("0", 64)
	blob := filepath.Join(dir, "blobs", "sha256", digest)
	const size = 1 << 40
	manifest := fmt.Appendf(nil, `{"schemaVersion":2,"layers":[{"digest":"sha256:%s","size":%d}]}`, digest, int64(size))
	name := image.DigestOf(manifest, "")
	index := fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"%s","size":%d}]}`, name, len(manifest))
	for _, err := range []error{
		os.MkdirAll(filepath.Dir(blob), 0o700), os.WriteFile(blob, nil, 0o600), os.Truncate(blob, size),
		os.WriteFile(filepath.Join(filepath.Dir(blob), name.Encoded()), manifest, 0o600),
		os.WriteFile(filepath.Join(dir, "index.json"), []byte(index), 0o600),
		os.WriteFile(filepath.Join(dir, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o600),
	} {
		if err != nil {
			h.t.Error(err)
		}
	}
	h.started = func(p *os.Process) { h.opened(p, digest) }
	return dir
}

// appears waits for a file.
func (h *hung) appears(path string) {
	for {
		if _, err := os.Stat(path); err == nil {
			h.arrive()
			return
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-h.over:
			return
		}
	}
}

// flood writes as fast as somebody reads.
func (h *hung) flood(w io.Writer) {
	h.arrive()
	_, _ = io.WriteString(w, `{"token":"`)
	chunk := bytes.Repeat([]byte("x"), 1<<10)
	for tick := time.NewTicker(5 * time.Millisecond); ; {
		select {
		case <-tick.C:
		case <-h.over:
			return
		}
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
}

// half is a source whose layer stops in the middle.
func (h *hung) half() (source string) {
	content := h.content()
	return h.serve(content, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		answer := httptest.NewRecorder()
		content.ServeHTTP(answer, r)
		body := answer.Body.Bytes()
		if len(body) < 100_000 {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		_, _ = w.Write(body[:len(body)/2])
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
		h.hang()
		return true
	}) + "/app"
}

const (
	stopsGrace  = time.Second
	stopsSlack  = 2 * time.Second // what is promised beside the grace
	stopsAtOnce = 16              // how many processes hang at one time
	stopsTries  = 4               // how often what was late is tried again, as the machine may have been busy
)

// TestStops: whatever hangs, a signal ends dray run within its grace and two seconds, and other commands within two seconds, with the
// exit code that is promised. What cannot end by itself says what it was at.
func TestStops(t *testing.T) {
	if testing.Short() {
		t.Skip("stops a hundred processes")
	}
	t.Parallel()
	places := make(chan struct{}, stopsAtOnce)
	var group sync.WaitGroup
	var mu sync.Mutex
	var lines []string
	var late []func() bool
	for name, k := range kinds() {
		for command := range strings.SplitSeq(k.commands, "|") {
			for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
				group.Go(func() {
					places <- struct{}{}
					defer func() { <-places }()
					line, inTime := stopsOne(t, name, k, command, sig)
					mu.Lock()
					defer mu.Unlock()
					lines = append(lines, line)
					if !inTime {
						late = append(late, func() bool {
							line, inTime := stopsOne(t, name, k, command, sig)
							t.Log("again, alone:", line)
							return inTime
						})
					}
				})
			}
		}
	}
	group.Wait()
	for _, again := range late { // so many at once may be too much for the machine
		inTime := false
		for n := 0; n < stopsTries && !inTime; n++ {
			inTime = again()
		}
		if !inTime {
			t.Error("it takes too long")
		}
	}
	slices.Sort(lines)
	t.Logf("%d stops\n%s", len(lines), strings.Join(lines, "\n"))
}

// stopsOne has a process come to where it hangs, and ends it. It returns how that went, and whether it was within the time that is promised.
func stopsOne(t *testing.T, name string, k kind, command string, sig syscall.Signal) (line string, inTime bool) {
	title := fmt.Sprintf("%s, %s, %s", name, command, sig)
	h := newHung(t, title, k)
	defer close(h.over)
	p := h.launch(command, stopsGrace)
	if p == nil {
		return title, true
	}
	defer p.kill()
	began := time.Now()
	if !p.signal(sig) || !p.ends() {
		return title, true
	}
	took := time.Since(began)
	code, forced := p.ProcessState.ExitCode(), strings.Contains(p.log.String(), "still under way")
	bound, want := stopsSlack, (&signalError{sig}).code()
	if command == "run" {
		bound += stopsGrace
		if !forced && h.stderr == nil {
			want = exitDone
		}
	}
	// It may have been ended by force while its last words were late.
	silent := !forced && code == (&signalError{sig}).code() && took >= bound-stopsSlack+stopTime
	inTime = took <= bound
	if silent && code != want {
		want, inTime = code, false
	}
	if code != want {
		t.Errorf("%s: exit code %d after %s, want %d within %s\n%s", title, code, took, want, bound, p.log)
	}
	if !forced && !silent {
		h.whole(title)
	}
	return fmt.Sprintf("%s: %s, exit code %d, by force: %v", title, took.Round(10*time.Millisecond), code, forced), inTime
}

// TestStopsAtOnce: a second signal ends what the first one leaves its time, also where it hangs.
func TestStopsAtOnce(t *testing.T) {
	fulltest.Long(t)
	t.Parallel()
	ends := func(name string) time.Duration {
		h := newHung(t, name, kinds()[name])
		defer close(h.over)
		p := h.launch("run", 10*time.Minute)
		if p == nil {
			return 0
		}
		defer p.kill()
		p.signal(syscall.SIGTERM)
		p.signal(syscall.SIGINT)
		began := time.Now()
		p.ends()
		return time.Since(began)
	}
	var group sync.WaitGroup
	defer group.Wait()
	for _, name := range []string{"no headers", "token server is silent", "webhook is silent", "store is busy", "nobody reads the log"} {
		group.Go(func() {
			for range stopsTries {
				if ends(name) <= stopsSlack {
					return
				}
			}
			t.Errorf("%s: it does not end within %s of the second signal", name, stopsSlack)
		})
	}
}

func newHung(t *testing.T, title string, k kind) *hung {
	dir, err := os.MkdirTemp("", "dray") // short enough for a socket
	if err != nil {
		t.Error(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	h := &hung{t: t, title: title, dir: dir, arrived: make(chan struct{}), over: make(chan struct{}), source: "ocidir://" + dir + "/none", target: "ocidir://" + dir + "/out", more: ", tags: [v1]"}
	k.prepare(h)
	return h
}

// stopped is a process that is to be stopped.
type stopped struct {
	*exec.Cmd
	hung  *hung
	log   *journal
	ended chan struct{}
}

// launch starts a process, and returns once it is where it hangs; nil where it does not come there.
func (h *hung) launch(command string, grace time.Duration) *stopped {
	config := filepath.Join(h.dir, "dray.yaml")
	lines := append(h.lines, "version: 1", "stateDir: state", "shutdownGrace: "+grace.String(), "mappings:", mapping("name: app, source: '%s', target: '%s'%s", h.source, h.target, h.more))
	if !strings.Contains(strings.Join(lines, "\n"), "server:") {
		lines = append(lines, "server: {listen: ''}")
	}
	if err := os.WriteFile(config, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		h.t.Error(err)
	}
	p := &stopped{Cmd: exec.Command(os.Args[0], append(append(strings.Fields(command), h.args...), "-c", config)...), hung: h, log: &journal{}, ended: make(chan struct{})} //nolint:gosec // this test
	p.Env = append([]string{asDray + "=1", "GORACE=atexit_sleep_ms=0", "HOME=" + h.dir, "PATH=" + os.Getenv("PATH"), "NO_PROXY=127.0.0.1"}, h.env...)
	p.Stdout, p.Stderr, p.WaitDelay = p.log, p.log, 500*time.Millisecond
	if h.stderr != nil {
		p.Stderr = h.stderr
	}
	if err := p.Start(); err != nil {
		h.t.Error(err)
		return nil
	}
	go func() { defer close(p.ended); _ = p.Wait() }()
	if h.started != nil {
		go h.started(p.Process)
	}
	if h.defers {
		go h.deferred(p.log)
	}
	select {
	case <-h.arrived:
		return p
	case <-p.ended:
		h.t.Errorf("%s: it ended with exit code %d before it was stopped\n%s", h.title, p.ProcessState.ExitCode(), p.log)
	case <-time.After(time.Minute):
		h.t.Errorf("%s: it never came to where it hangs\n%s", h.title, p.log)
	}
	p.kill()
	return nil
}

func (p *stopped) kill() {
	_ = p.Process.Kill()
	<-p.ended
}

func (p *stopped) signal(sig syscall.Signal) bool {
	if err := p.Process.Signal(sig); err != nil {
		p.hung.t.Errorf("%s: %v", p.hung.title, err)
		return false
	}
	return true
}

// ends waits for the end.
func (p *stopped) ends() bool {
	select {
	case <-p.ended:
		return true
	case <-time.After(time.Minute):
		p.hung.t.Errorf("%s: it does not end\n%s", p.hung.title, p.log)
		return false
	}
}

// whole looks for what was left incomplete.
func (h *hung) whole(title string) {
	out := filepath.Join(h.dir, "out")
	if left, _ := filepath.Glob(filepath.Join(out, ".dray-tmp", "*")); len(left) > 0 {
		h.t.Errorf("%s: left behind are %q", title, left)
	}
	if s, err := layout.Verify(h.t.Context(), out); err == nil && len(s.Problems) > 0 {
		h.t.Errorf("%s: the layout has %+v", title, s.Problems)
	}
}

// deferred waits until the log says that something is.
func (h *hung) deferred(log *journal) {
	for !strings.Contains(log.String(), `"deferred"`) {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-h.over:
			return
		}
	}
	h.arrive()
}
