// Package azure talks to Azure about container registries: it signs in, finds a registry's resource, has the registry import
// images by itself, and trades the sign-in for a token of a registry's data plane. [Classify] says what Azure's errors mean.
//
// An import is one POST and then questions after it:
//
//	op, err := client.Start(ctx, target, azure.NewOperationID(), azure.Import{…})
//	for err == nil && !op.Done {
//		// keep op (it is plain JSON), wait for op.RetryAfter
//		op, err = client.Poll(ctx, op)
//	}
//
// The client waits for nothing and repeats no POST: when to ask again, how long, and what a lost answer means is for the
// caller to decide, who can look at the registry. Three habits of the service are behind the form of it: an import that failed
// may be answered 200 with a body that says so; Location names a new URL with every answer, and only the newest is good; and
// whoever can forge a Location would be handed the token, so none is sent to another host than Resource Manager's own.
//
// Nothing that this package returns or logs has a credential in it, except where the name says so: [Client.RegistryToken], and
// [Operation].Location, which is a signed URL.
package azure
