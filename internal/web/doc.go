// Package web is what the daemon says over HTTP, and the client that asks it: health, status, history, a page for people, and the few
// requests that change something.
//
// # Who may ask what
//
// Every GET is open. A POST changes something, and is refused
//   - from another origin, always: a page of some other site in somebody's browser must not start a sync;
//   - without "Authorization: Bearer TOKEN" where server.token is set;
//   - where it is not set and the address is neither of the loopback nor a unix socket: everybody in the network could.
//
// A site can make its own name resolve to this machine and then read the answers (DNS rebinding). That is why a request's Host has to be
// one that no stranger can own: an address, localhost, and, where the server listens beyond the loopback, also the configured host, the
// name of the machine, and names that are never public (without a dot, below .internal, .local, .localhost, .home.arpa or .svc). There
// /healthz, /readyz and /metrics are answered under any name, because the checkers of such things have names of their own for a server.
// Over a unix socket, and with the right token, any Host will do.
//
// # The pages
//
// A page is made of parts, elements with ids. A browser that runs the page's script listens to /events, where the server makes the page anew
// every second, or two while nothing runs, and sends the parts that differ from what it has sent. Words about times do not count, since the
// script keeps those up to date.
//
// The forms of a page are answered at /do/… and lead back to the page. They are refused where Origin or Sec-Fetch-Site names another site, and
// unless they carry a value that only the server's pages have. Where server.token is set, a browser signs in with it and has a session, which
// is for the forms only.
//
// # Behind a reverse proxy
//
// The proxy has to send the address that it connects to as the Host (nginx does so by itself; Caddy: header_up Host
// {upstream_hostport}; Apache: ProxyPreserveHost Off), or speak over the unix socket. What it lets through counts as local: set a token, or let the
// proxy refuse POST. A browser's POST carries an Origin with the proxy's name; it is taken where the browser also says that it is of the
// same origin (Sec-Fetch-Site), as all do over https.
//
// # What bounds it
//
// At most 256 connections are served at once. When all slots are taken, the connection that has idled longest gives up its slot, and
// others wait to be accepted. Headers must have come within 5 s and be below 16 KiB, bodies within 10 s and be at most 4 KiB; an answer
// must have been taken within 30 s. At most 16 answers that need the daemon are made at once, others wait for 10 s and are then told to
// come again (503); all that ask at one time share one snapshot of the daemon, so the number of clients is nothing to a sync. At most 32
// listen to changes at once, for ten minutes at a time; one that takes more than 5 s to read what it is sent is dropped.
package web
