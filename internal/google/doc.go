// Package google signs in to Google's registries (Artifact Registry and gcr.io) with the Application Default Credentials: a file of credentials, or
// the service account of this machine.
package google
