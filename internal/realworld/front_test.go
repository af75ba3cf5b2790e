package realworld

import (
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"
)

// nginx is a config of it, one process that stays in front; only what is named differs from its defaults.
const nginx = `daemon off; master_process off; pid {dir}/nginx.pid;
events {}
http {
  access_log off; client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi; uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
  {http}
  server {
    listen {host};
    location / { {location} proxy_pass http://{behind}; proxy_set_header Host $http_host; }
  }
}`

// behindNginx puts nginx before what dray is given, with more of its config.
func (s *site) behindNginx(t *testing.T, http, location string) *site {
	t.Helper()
	text := strings.NewReplacer("{http}", http, "{location}", location, "{behind}", s.host).Replace(nginx)
	s.host = serve(t, folder(t), "nginx", map[string]string{"nginx.conf": text}, "-e", "stderr", "-p", "{dir}", "-c", "{dir}/nginx.conf").Host
	return s
}

// haproxy is a config of it with its usual times; only the rules differ.
const haproxy = `defaults
  mode http
  timeout connect 5s
  timeout client 1m
  timeout server 1m
frontend registry
  bind {host}
  {rules}
  default_backend registry
backend registry
  stick-table type string len 256 size 1k expire 10m store http_req_cnt
  server one {behind}
`

// behindHAProxy puts HAProxy before what dray is given, with rules for its frontend.
func (s *site) behindHAProxy(t *testing.T, rules ...string) *site {
	t.Helper()
	text := strings.NewReplacer("{rules}", strings.Join(rules, "\n  "), "{behind}", s.host).Replace(haproxy)
	s.host = serve(t, folder(t), "haproxy", map[string]string{"haproxy.cfg": text}, "-db", "-q", "-f", "{dir}/haproxy.cfg").Host
	return s
}

// rejects is HAProxy's rule that so many of a hundred requests are answered with a status.
func rejects(status, percent int) string {
	return fmt.Sprintf("http-request deny deny_status %d if { rand(100) lt %d }", status, percent)
}

// fronts are entries of the matrix: what stands before a registry.
func fronts() []entry {
	behindNginx := func(http string) func(*testing.T) *site {
		return func(t *testing.T) *site {
			return counted(t, settings{}.start(t, "docker-registry", folder(t))).behindNginx(t, http, "")
		}
	}
	behindHAProxy := func(rule string) func(*testing.T) *site {
		return func(t *testing.T) *site {
			return counted(t, settings{}.start(t, "registry", folder(t))).behindHAProxy(t, rule)
		}
	}
	return []entry{
		{name: "nginx, client_max_body_size 1m", start: behindNginx("")},
		{name: "nginx, client_max_body_size 20m", start: behindNginx("client_max_body_size 20m;")},
		{name: "nginx, limit_req", start: behindNginx("client_max_body_size 0; limit_req_zone $binary_remote_addr zone=all:1m rate=100r/s; limit_req zone=all burst=50 nodelay;")},
		{name: "nginx, short time-outs", start: behindNginx("client_max_body_size 0; client_header_timeout 2s; client_body_timeout 2s; send_timeout 2s; " +
			"proxy_read_timeout 2s; proxy_send_timeout 2s; keepalive_timeout 1s; keepalive_requests 10;")},
		{name: "HAProxy, 5 % of 503", start: behindHAProxy(rejects(503, 5))},
		{name: "HAProxy, 5 % of 429", start: behindHAProxy(rejects(429, 5))},
	}
}

// TestSilentDrop has HAProxy say nothing to some requests, and leave the connection as it is: dray gives up after a minute and asks again.
func TestSilentDrop(t *testing.T) {
	t.Parallel()
	s := counted(t, settings{}.start(t, "registry", folder(t))).behindHAProxy(t,
		"http-request track-sc0 path table registry if { method PUT } { path_end /1.7.0 } or { method HEAD } { path_end /1.9.0 }",
		"http-request silent-drop if { sc_http_req_cnt(0) eq 1 }")
	u, o := newUser(t), newOrigin(t, 1)
	u.sync(t, u.config(t, "", fmt.Sprintf("source: '%s/%s', target: '%s/%s', tags: ['1.*']", o.host, app, s.host, app))).wants(t, images, 0)
	s.holds(t, app, o.tags, 1)
}

// TestStrippedAuthorization has a proxy keep the password from the registry: dray is refused as with a wrong one, and soon.
func TestStrippedAuthorization(t *testing.T) {
	t.Parallel()
	s := withPasswords(t).behindNginx(t, "client_max_body_size 0;", `proxy_set_header Authorization "";`)
	u, o := newUser(t), newOrigin(t, 1)
	a := u.sync(t, u.config(t, s.registries(password), fmt.Sprintf("source: '%s/%s', target: '%s/%s', tags: ['1.*']", o.host, app, s.host, app)))
	if a.code != 3 || a.doc.Totals.Failed != images || !strings.Contains(a.text, "401") {
		t.Errorf("exit code %d, %+v\n%s", a.code, a.doc.Totals, tail(a.text))
	}
	if n := len(s.counter.Requests()); n > 10*images {
		t.Errorf("%d requests for %d images", n, images)
	}
}

// TestRewrittenPath has a proxy keep all repositories below a path of the registry, as many do: what is there is found. The registry's own
// Locations do not know of it, so uploads cannot go on, and dray says so.
func TestRewrittenPath(t *testing.T) {
	t.Parallel()
	s := counted(t, settings{}.start(t, "docker-registry", folder(t)))
	o, u := newOrigin(t, 1), newUser(t)
	u.sync(t, u.config(t, "", fmt.Sprintf("source: '%s/%s', target: '%s/shelf/%s', tags: ['1.*']", o.host, app, s.host, app))).wants(t, images, 0)
	s.behindNginx(t, "client_max_body_size 0;", "rewrite ^/v2/(.+)$ /v2/shelf/$1 break;")
	t.Run("source", func(t *testing.T) {
		back := counted(t, settings{}.start(t, "docker-registry", folder(t)))
		u.sync(t, u.config(t, "", fmt.Sprintf("source: '%s/%s', target: '%s/%s', tags: ['1.*']", s.host, app, back.host, app))).wants(t, images, 0)
		back.holds(t, app, o.tags, 1)
	})
	t.Run("target", func(t *testing.T) {
		s.counter.Reset()
		a := u.sync(t, u.config(t, "", fmt.Sprintf("source: '%s/%s', target: '%s/%s/new', tags: ['1.*']", o.host, app, s.host, app)))
		if a.code != 3 || !strings.Contains(a.text, "Location") {
			t.Errorf("exit code %d\n%s", a.code, tail(a.text))
		}
		if n := s.writes(t); n > 8*images { // an image has six blobs, and each may be tried once
			t.Errorf("%d attempts for %d images", n, images)
		}
	})
}

// squid is a config of it: it knows registry.test, which is this machine.
const squid = `http_port {host}
pid_filename {dir}/squid.pid
cache_log {dir}/cache.log
access_log stdio:{dir}/access.log
hosts_file {dir}/hosts
coredump_dir {dir}
cache deny all
pinger_enable off
dns_nameservers 127.0.0.1
shutdown_lifetime 0 seconds
{rules}
http_access allow all
`

// behindSquid starts squid and returns its URL and what it has been asked so far.
func behindSquid(t *testing.T, rules string) (proxy string, asked func() string) {
	t.Helper()
	dir := folder(t)
	if err := os.Chmod(dir, 0o777); err != nil { //nolint:gosec // squid gives up root's rights before it opens its logs
		t.Fatal(err)
	}
	p := serve(t, dir, "squid", map[string]string{"squid.conf": strings.Replace(squid, "{rules}", rules, 1), "hosts": "127.0.0.1 registry.test\n"},
		"-N", "-f", "{dir}/squid.conf")
	return p.URL, func() string { return read(t, dir+"/access.log") }
}

// throughSquid is a registry with TLS by a name that only squid knows, and a target that NO_PROXY leaves out.
func throughSquid(t *testing.T, rules string) (from, to *site, o *origin, asked func() string) {
	t.Helper()
	dir := folder(t)
	passwords(t, dir)
	newAuthority(t).write(t, dir, "registry.test")
	from, to, o = withTLS(t, dir, byPassword), counted(t, settings{}.start(t, "docker-registry", folder(t))), newOrigin(t, 1)
	u := newUser(t)
	u.sync(t, u.config(t, from.registries(password), fmt.Sprintf("source: '%s/%s', target: '%s/%s', tags: ['1.*']", o.host, app, from.host, app))).wants(t, images, 0)
	proxy, asked := behindSquid(t, rules)
	// Go leaves the loopback out of any proxy, but not this address, which leads there as well.
	to.host = strings.Replace(to.host, "127.0.0.1", "0.0.0.0", 1)
	to.settings = "plainHTTP: true"
	from.host = strings.Replace(from.host, "127.0.0.1", "registry.test", 1)
	from.env = []string{"HTTPS_PROXY=" + proxy, "HTTP_PROXY=" + proxy, "NO_PROXY=0.0.0.0"}
	return from, to, o, asked
}

func TestSquid(t *testing.T) {
	t.Parallel()
	from, to, o, asked := throughSquid(t, "")
	u := newUser(t, from.env...)
	u.sync(t, u.config(t, from.registries(password)+to.registries(""), fmt.Sprintf("source: '%s/%s', target: '%s/%s', tags: ['1.*']", from.host, app, to.host, app))).wants(t, images, 0)
	to.holds(t, app, o.tags, 1)
	if text := asked(); !strings.Contains(text, "CONNECT "+from.host) || strings.Contains(text, to.host) {
		t.Errorf("squid was asked:\n%s", text)
	}
}

// TestSquidDenies has squid refuse the tunnel: the error says who refused what.
func TestSquidDenies(t *testing.T) {
	t.Parallel()
	from, to, _, asked := throughSquid(t, "acl tunnel method CONNECT\nhttp_access deny tunnel")
	u := newUser(t, from.env...)
	a := u.sync(t, u.config(t, from.registries(password)+to.registries(""), fmt.Sprintf("source: '%s/%s', target: '%s/%s', tags: ['1.0.0']", from.host, app, to.host, app)))
	if a.code != 3 || !strings.Contains(a.text, "403") && !strings.Contains(a.text, "Forbidden") {
		t.Errorf("exit code %d\n%s", a.code, tail(a.text))
	}
	if n := strings.Count(asked(), "CONNECT"); n == 0 || n > 10 {
		t.Errorf("squid was asked %d times", n)
	}
	proxy, err := url.Parse(strings.TrimPrefix(from.env[0], "HTTPS_PROXY="))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(a.text, proxy.Host) {
		t.Errorf("the proxy is not named:\n%s", tail(a.text))
	}
}

// TestPullThroughAsMirror has a registry that is a cache before the source serve as its mirror: no blob comes from the source to dray itself.
func TestPullThroughAsMirror(t *testing.T) {
	t.Parallel()
	source := counted(t, settings{}.start(t, "docker-registry", folder(t)))
	o, u := newOrigin(t, 1), newUser(t)
	u.sync(t, u.config(t, "", fmt.Sprintf("source: '%s/%s', target: '%s/%s', tags: ['1.*']", o.host, app, source.host, app))).wants(t, images, 0)
	cache := counted(t, settings{more: "proxy: {remoteurl: 'http://" + source.direct + "'}\n"}.start(t, "registry", folder(t)))
	target := counted(t, settings{}.start(t, "docker-registry", folder(t)))
	source.counter.Reset()
	source.settings = fmt.Sprintf("plainHTTP: true, mirrors: ['%s']", cache.host)
	fresh := newUser(t)
	fresh.sync(t, fresh.config(t, source.registries(""), fmt.Sprintf("source: '%s/%s', target: '%s/%s', tags: ['1.*']", source.host, app, target.host, app))).wants(t, images, 0)
	target.holds(t, app, o.tags, 1)
	if n := source.counter.Count(isBlob); n != 0 {
		t.Errorf("%d blobs came from the source", n)
	}
	if n := cache.counter.Count(isBlob); n == 0 {
		t.Error("no blob came from the mirror")
	}
}
