// Package acr is the engine "acr": Azure Container Registry imports images by itself, through Azure's Resource Manager, and no byte of them
// passes through dray.
// # Requests
//
// One request imports one manifest, with its children and blobs, under all its tags at one registry. The source is pinned by digest: if a
// tag moves during an import by tag, Azure leaves a target tag without a manifest. The mode is NoForce for a missing tag and Force for one
// that moves. Force moves locked tags as well, so locks are checked first.
// # Verification
//
// dray does not trust Azure's report of success: afterwards it asks the target which digests its tags have, and whether the manifest and its
// children exist. The same check decides about an operation that does not end by its deadline. Operations are saved in the store, so that a restart
// resumes them instead of starting new ones.
// # Referrers
//
// An import does not copy referrers, so the engine imports signatures and other attachments one by one, by digest and before the tag.
package acr
