// Package ratelimit keeps requests within what registries allow: manifests that an account or address may fetch per time window (pulls),
// requests per second, and pauses that a registry asks for. It is an [net/http.RoundTripper] below the client, so that no request bypasses
// it.
//
// # Pulls
//
// At a metered registry each GET of a manifest counts; HEAD, blobs and lists are free. What is left is read from every answer, including
// those to HEAD, and never assumed: limits, windows (an hour, six hours) and header names differ and change. A request that does not fit
// into what is left, minus what is under way and what is kept for others, is not sent: its error says when to try again, and the action is
// deferred and holds nothing. Fetched manifests are stored elsewhere, so no pull is spent twice.
//
// A registry is metered by its rule, or from the first answer about a manifest that names both the limit and the rest: a reverse proxy in
// front of Docker Hub, or a cache that passes its headers on, can have any name.
//
// # Several processes
//
// Processes that share a store share its budgets: each changes a saved state by compare-and-set, so none overwrites what another knows. Before
// a process sends a pull, it has set it aside in the state as part of its allotment, which the others leave to it. The sum of the allotments
// and of the pulls that got no answer since the last reading is never more than that reading, minus what is kept. An allotment lasts half a
// minute. While it is needed it is extended, and what is not needed is returned within a second. What is left of one that is over counts as
// spent until the next reading. A process that finds no pulls left, but allotments, waits for these for half a minute before it defers.
// While a process makes pulls, it sets a few more aside, so that each costs one write, as it does without others. If the store does not
// answer, a process goes on with what it knows.
//
// Of two readings the later one applies, and if that is unknown, the one with less. Clocks play no part in that.
//
// # When to try again
//
// Docker Hub does not say whether its window slides or is fixed. So an exhausted budget is tried again when its own first pulls leave a
// sliding window; a fixed window that began with them ends no later. If others with the same address or account have spent it, whose pulls
// are unknown, it is checked every ten minutes, by the free HEADs at the start of a sync.
//
// # What else may be refused
//
// A 429 that does not mention pulls concerns the rate of all requests: then no request goes to that registry for a minute, and for twice as
// long each time it happens again, up to an hour. This package does not handle refusals of the sign-in host.
package ratelimit
