// Package receiver takes events of registries: a registry that says that a tag was pushed spares its mapping the wait for the schedule. An
// event is a hint to look now and never a truth: it can be forged, late, doubled or lost. So one is taken only from a sender that proves who it
// is, in the way that its type of sender can, and it leads to nothing but a look at the tag that it names.
package receiver
