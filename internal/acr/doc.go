// Package acr is the engine "acr": Azure Container Registry imports images by itself, through Azure's Resource Manager, and no byte of them
// passes through dray.
//
// # What is asked for
//
// One request imports one manifest, with everything below it, under all its tags at one registry. The source is pinned by digest: an import
// by tag whose tag moves meanwhile leaves a target tag without a manifest. A missing tag is imported with the mode NoForce, one that moves
// with Force. Force moves locked tags as well, so locks are checked first.
//
// # What is believed
//
// Azure's report of success is not trusted: afterwards the target is asked what its tags hold, and whether the manifest and those below it
// are there. The same check settles an operation that does not end by its deadline. Operations are saved in the store, so that a restart
// resumes them instead of starting new ones.
//
// # What is not copied with an image
//
// An import copies no referrers, so signatures and the like are imported one by one, by digest and before the tag.
package acr
