// Package metrics keeps what dray counts and exposes it to Prometheus. No label is made of a tag or a digest, and a job's series go
// with the job.
package metrics
