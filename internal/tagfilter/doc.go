// Package tagfilter chooses tags: by name, by pattern, by version range, and the newest few. It takes values and returns
// values; what it chooses depends only on the Spec and on the set of tags, never on their order.
//
// # Patterns
//
// An entry of include or exclude stands for whole tags, in upper and lower case as written:
//
//   - A literal, an entry without any of * ? [ ] { } and without a leading /, is one tag.
//   - In a glob, * stands for any characters, none included; ? for one; [a-z] for one of these; [!a-z] for one that is
//     none of these; {a,b} for a or b, where each can be a glob again and can be empty.
//   - /RE2/ is a regular expression in Go's syntax, anchored at both ends: /v1/ is the tag v1 only.
//
// An entry is at most 1 KiB long. A glob becomes an RE2 expression, so no entry takes exponential time, and an entry that
// is small but expands enormously, such as /(x{1000})*/, is refused.
//
// # What is chosen
//
// A literal is chosen by its name alone: when the tag exists and exclude does not match it. Neither semver, suffix nor
// newest narrows it, which is why they are refused beside an include of literals only. The tags that a glob or an
// expression matches are candidates (a tag that is also a literal is one too), and these steps narrow them, in this order:
//
//  1. exclude removes what it matches.
//  2. suffix keeps the tags that end in it; the steps below then read the version in what stands before it.
//  3. semver keeps the versions in the range (the syntax of github.com/Masterminds/semver), pre-releases only where the
//     range names one. A tag that is no version drops out.
//  4. newest keeps that many tags, the highest versions first, or by the day or the numbers in them where sort says so. A tag that is no version drops out, and without semver so
//     does a pre-release.
//
// The result is what is left of the candidates, and the literals. An empty include means "*" where semver, suffix or
// newest is set. A tag that the OCI distribution spec does not allow is never chosen, whatever the registry says it has.
//
// A filter can be the union of several such sets, of which each chooses for itself.
//
// # What has to be there
//
// A set has to choose min tags, by default one, and its patterns at least one, unless min is 0. [Filter.Choose] tells where it does not. A
// literal always has to be there.
//
// # Versions
//
// A version is read loosely: 3, 3.19 and v1.2.3 are versions (3.0.0, 3.19.0 and 1.2.3), and so is 2024.01.15. What follows
// a hyphen is a pre-release: 3.20-alpine is one unless suffix is -alpine. Four parts
// (10.0.17763.5458) are a version whose fourth part a range does not see, and newest does. An underscore stands for the "+" that a tag cannot
// have, as Helm writes it (104.1.1_up57.0.3), but for 3.20.0_rc1 and its like, which are pre-releases as Alpine writes them. A number of six or more digits without a dot, with or without a v and a pre-release, is a
// date or a build number (20240115, v20240115-a1b2c3) and no version.
//
// Equal versions each take a place of newest. The longest spelling comes first, as it is the least likely to move
// (v3.20.0, 3.20.0, 3.20), and then the lower in byte order.
package tagfilter
