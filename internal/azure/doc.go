// Package azure is a client of Azure for container registries: it signs in, finds a registry's resource, has the registry import images by
// itself, and exchanges the sign-in for a token of a registry's data plane. [Classify] interprets Azure's errors.
// An import is one POST, followed by polls:
//
//	op, err := client.Start(ctx, target, azure.NewOperationID(), azure.Import{…})
//	for err == nil && !op.Done {
//		// keep op (it is plain JSON), wait for op.RetryAfter
//		op, err = client.Poll(ctx, op)
//	}
//
// The client never waits and never repeats a POST. The caller decides when to poll, for how long, and what a lost answer means, since it can
// check the registry. Three properties of the service explain this API: a failed import may be answered with status 200 and a body that
// reports the failure; each answer has a new URL in Location, and only the newest is valid; and since whoever forges a Location would get
// the token, the client sends it to no host but Resource Manager's.
// This package neither returns nor logs credentials, with two exceptions: [Client.RegistryToken] returns a token, and [Operation].Location
// is a signed URL.
package azure
