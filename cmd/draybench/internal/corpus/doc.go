// Package corpus makes the images that draybench copies, the same on every machine, and keeps registry storages filled
// with them.
package corpus
