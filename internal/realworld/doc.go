// Package realworld tries dray, as the program that users run, with the registries, proxies and stores that they have: each is a process of
// its own here, on the loopback. What its table finds is in docs/registries.md.
package realworld
