// Package tagfilter chooses tags: by name, by pattern, by version range, and the newest few. It is pure: its choice depends only on the Spec
// and on the set of tags, never on their order.
//
// # Patterns
// An entry of include or exclude matches complete tags, and is case-sensitive:
//
//   - A literal, an entry without any of * ? [ ] { } and without a leading /, is one tag.
//   - In a glob, * matches any number of characters, including none; ? matches one; [a-z] one of these; [!a-z] one that is not among these;
//     {a,b} matches a or b, where each can be a glob again and can be empty.
//   - /RE2/ is a regular expression in Go's syntax, anchored at both ends: /v1/ is the tag v1 only.
//
// An entry is at most 1 KiB long. A glob becomes an RE2 expression, so no entry takes exponential time, and an entry that
// is small but expands enormously, such as /(x{1000})*/, is refused.
// # Selection
//
// A literal is chosen by its name alone: when the tag exists and exclude does not match it. semver, suffix and newest do not affect it, so
// Compile refuses them if include has only literals. The tags that a glob or an
// expression matches are candidates (a tag that is also a literal is one too), and these steps narrow them, in this order:
//
//  1. exclude removes what it matches.
//  2. suffix keeps the tags that end in it; the steps below then read the version from the part before it.
//  3. semver keeps the versions in the range (the syntax of github.com/Masterminds/semver), pre-releases only if the range names one. A tag
//     that is not a version is dropped.
//  4. newest keeps that many tags: those with the highest versions or, depending on sort, with the latest dates or the highest numbers. A
//     tag that is not a version is dropped and, without semver, so is a pre-release.
//
// The result is the remaining candidates and the literals. An empty include means "*" if semver, suffix or newest is set. A tag that the OCI
// distribution spec does not allow is never chosen, even if the registry lists it.
// A filter can be the union of several such sets, each of which chooses independently.
// # Required tags
//
// A set must choose at least min tags, by default one, and its patterns at least one, unless min is 0. Literals must always exist.
// [Filter.Choose] reports violations.
//
// # Versions
//
// A version is read loosely: 3, 3.19 and v1.2.3 are versions (3.0.0, 3.19.0 and 1.2.3), and so is 2024.01.15. The part after a hyphen is a
// pre-release: 3.20-alpine is one unless suffix is -alpine. Four parts
// (10.0.17763.5458) are a version whose fourth part counts for newest, but not for a range. An underscore stands for the "+" that a tag
// cannot contain, as Helm writes it (104.1.1_up57.0.3). Exceptions are tags such as 3.20.0_rc1, which are pre-releases as Alpine writes
// them. A number of six or more digits without a dot, with or without a v and a pre-release, is a date or a build number (20240115,
// v20240115-a1b2c3), not a version.
// Each of several equal versions counts for newest. The longest spelling comes first, since it is the least likely to move (v3.20.0, 3.20.0,
// 3.20), then the lower in byte order.
package tagfilter
