// Package aws signs in to Amazon ECR with the credential that the AWS SDK finds: in the environment, the shared config files, a web identity,
// a container's or an instance's role.
package aws
