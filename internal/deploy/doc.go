// Package deploy tests what dray is shipped as: the container's image, and the files with which a cluster or a compose file runs it.
package deploy
