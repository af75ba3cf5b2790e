// Package ratelimit keeps requests within what registries allow: how many manifests an account or address may fetch in a window of time
// (pulls), how many requests a second, and what a registry asks for when it has had enough. It is an [net/http.RoundTripper] below the
// client, so that nothing goes around it.
//
// # Pulls
//
// Of a metered registry each GET of a manifest counts; HEAD, blobs and lists are free. What is left is learned from every answer, HEADs
// among them, and never assumed: limits, windows (an hour, six hours) and header names differ and change. A request that does not fit
// into what is left, less what is under way and what is kept for others, is not sent: its error says when to try again, and an action
// that meets it is deferred, holding nothing. Manifests that were fetched are kept elsewhere, so no pull is spent twice.
//
// A registry is metered by its rule, or from the first answer that says of a manifest how much is allowed and how much is left: a reverse
// proxy before Docker Hub, or a cache that hands its headers on, has any name.
//
// # When to try again
//
// Whether a window slides or starts anew is not known of Docker Hub, so a budget that is used up is tried again when its own first pulls
// leave a sliding window, which a fixed window does not outlast if it began with them. Where others on the same address or account have
// spent it, whose pulls are not known, it is looked at every ten minutes, by the free HEADs that a sync begins with.
//
// # What else may be refused
//
// A 429 that says nothing of pulls is about the rate of all requests: then nothing at all is sent to that registry for a minute, and for
// twice as long each time that it happens again, up to an hour. The sign-in host's refusals are not this package's.
package ratelimit
