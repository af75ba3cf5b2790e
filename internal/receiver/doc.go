// Package receiver accepts events from registries. If a registry reports that a tag was pushed, its mapping need not wait for the schedule.
// An event is only a hint: it can be forged, late, duplicated or lost. So the package accepts events only from senders that authenticate, in
// the way that their type supports, and an event leads to no more than a check of the tag that it names.
package receiver
