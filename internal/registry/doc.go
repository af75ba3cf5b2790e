// Package registry implements the operations of the OCI distribution spec, and passes OCI image layouts on to package layout. Package auth
// signs its requests, package wire sends them.
package registry
