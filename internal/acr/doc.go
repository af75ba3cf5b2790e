// Package acr is the engine "acr": Azure Container Registry imports images by itself, through Azure's Resource Manager, and no byte of them
// passes through dray.
//
// # What is asked for
//
// One request imports one manifest, with everything below it, under all the tags that it is to have at one registry. The source is pinned by
// its digest: an import by tag whose tag moves meanwhile leaves a target tag without a manifest. A tag that is absent is imported with the
// mode NoForce, one that moves with Force, and because Force moves locked tags as well, locks are looked at first.
//
// # What is believed
//
// Azure's word that an import has succeeded is not: afterwards the target is asked what its tags hold, and whether the manifest and those
// below it are there. An operation that does not end is settled in the same way at its deadline. Operations are kept in the store, so that
// one that was begun is taken up again after a restart rather than begun anew.
//
// # What is not copied with an image
//
// An import brings no referrers, so signatures and the like are imported one by one, by digest and before the tag.
package acr
