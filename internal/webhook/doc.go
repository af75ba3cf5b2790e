// Package webhook tells other systems what happened: one HTTP POST for an event and hook, sent in the background. A hook
// that is slow or gone costs its own messages and nothing else.
//
// # Events
//
//	kind             type                                       subject  when
//	imported         io.github.draysync.dray.imported           the job  a run imported something
//	failed           io.github.draysync.dray.failed             the job  a run failed, as a whole or in part
//	recovered        io.github.draysync.dray.recovered          the job  a run succeeded after one that failed
//	config-rejected  io.github.draysync.dray.config-rejected    –        a config was refused; the last good one runs on
//	config-accepted  io.github.draysync.dray.config-accepted    –        a config is good again
//	missed           io.github.draysync.dray.missed             –        this hook got less than there was; see below
//
// There is one event for a run of a job, however many tags it touched.
//
// # Body
//
// Without a template the body is a CloudEvent 1.0 in structured mode (application/cloudevents+json) whose data is [Data]:
//
//	{"specversion":"1.0","id":"…","source":"/dray/host","type":"io.github.draysync.dray.failed","subject":"alpine",
//	 "time":"2026-11-23T08:00:00Z","datacontenttype":"application/json","data":{"kind":"failed","job":"alpine",…}}
//
// With a template (text/template) it is what the template makes of [Fields], sent as application/json. The result must be
// JSON; New tries every template on sample events whose names hold quotes, and whose lists are empty. Functions beside the
// built-in ones: json writes any value as JSON, strings with their quotes; slack escapes what Slack takes for markup (&, <,
// >), so that an error message cannot mention a channel. For Slack and Mattermost, and for a Teams workflow:
//
//	{"text": {{json (slack .Summary)}}}
//
//	{"type": "message", "attachments": [{"contentType": "application/vnd.microsoft.card.adaptive", "content": {
//	  "type": "AdaptiveCard", "version": "1.4", "body": [{"type": "TextBlock", "wrap": true, "text": {{json .Summary}}}]}}]}
//
// # Signature
//
// Requests follow Standard Webhooks (https://www.standardwebhooks.com): webhook-id is the event's id, the same in every
// attempt; webhook-timestamp is when this attempt was made, in seconds since 1970; and where the hook has a secret,
// webhook-signature is "v1," and the base64 of the HMAC-SHA256 over "ID.TIMESTAMP.BODY". The key is what the base64 after
// "whsec_" stands for, or the secret's own bytes where it does not begin so. A receiver, here in Python,
//
//	signed = b".".join([headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body])
//	expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
//	if not any(hmac.compare_digest(expected, s) for s in headers["webhook-signature"].split()): refuse()
//	if abs(time.time() - int(headers["webhook-timestamp"])) > 300: refuse()
//
// takes the body's bytes as they came, compares in constant time, refuses old timestamps, and drops ids that it has seen:
// an answer can get lost, and then the same event comes twice.
//
// # Delivery
//
// The events of one hook go out one after the other, in the order in which they happened. An answer 2xx ends it. After
// 408, 429, another 5xx, or no answer within 10 s, the event is sent again: after 1 s, 2 s, 4 s and so on up to 5 minutes,
// half of each wait being random, and not before what Retry-After asks for, up to an hour. An event is given up when its
// next attempt would come 6 hours after it was queued, and after 8 answers of kinds of 5xx that are more likely about the
// event than about the receiver (all but 502, 503 and 504), so that it does not hold up the others for hours. Any other answer
// ends it at once; redirects are not followed.
//
// A hook keeps 100 waiting events. Beyond that the oldest is dropped. Once the receiver takes events again, one of kind
// missed says how many of which kinds were dropped or given up; every hook gets it.
//
// No log line or error says more of a URL than its host.
package webhook
