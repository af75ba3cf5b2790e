// Package scale measures how dray's time, requests and memory grow with the number of tags, where nothing has changed.
package scale
