package config

import (
	"time"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/imagelist"
	"github.com/draysync/dray/internal/schedule"
	"github.com/draysync/dray/internal/tagfilter"
)

// Config is the content of a config file, with all defaults filled in. It is read-only.
type Config struct {
	// Path is the file's name as given to [Load].
	Path string
	// Files are the config's files and all files that they name by ${file:} and tls, readable or not: absolute, sorted, without duplicates.
	Files []string
	// Globs are the absolute patterns of further files: one that comes to match belongs to the config.
	Globs []string
	// StateDir is the directory of the store; empty if the file does not set it.
	StateDir string
	Log      Log
	Server   Server
	Cluster  Cluster
	// Jobs limits how many jobs run at once; it is positive.
	Jobs int
	// ShutdownGrace is how long a stop waits for running imports; 0 for not at all.
	ShutdownGrace time.Duration
	// Bandwidth limits the bytes of blobs per second, in each direction; 0 for no limit.
	Bandwidth     int64
	Notifications []Notification
	Receivers     []Receiver
	// Registries are keyed by canonical host, or host/path for credentials that hold for a part of it.
	Registries map[string]Registry
	Azure      Azure
	// Policies are sorted by name.
	Policies []Policy
	// Mappings are in the order of the files, and in each of the file; there is at least one, and no two have one name.
	Mappings []Mapping
	// Texts are what its files have, by the name in [Position].
	Texts map[string][]byte
}

// Log says what is logged and how.
type Log struct {
	// Level is debug, info, warn or error.
	Level string
	// Format is auto, text or json.
	Format string
}

// Mapping is an entry of mappings. Omitted keys are filled in from the file's defaults.
type Mapping struct {
	Name string
	Pos  Position
	// Source is one image if it has a tag or a digest, and otherwise a repository or, with Repositories, a prefix.
	Source image.Reference
	// Targets are of the same kind as Source: images, each with a tag, or with the source's digest if imported without a tag; repositories;
	// or prefixes.
	Targets []image.Reference
	// Images are those that the mapping names, with their targets; nil with a source. Source is then zero, and Targets are prefixes.
	Images []Image
	// Doubts are what may be images in the files that name them.
	Doubts []imagelist.Doubt
	// Repositories are paths below the prefixes; an entry with '*', '?' or '[' is a glob, and one that begins with '!' leaves out what it matches.
	Repositories []string
	// Tags chooses tags of the repositories; it is the zero Filter if Source is one image.
	Tags tagfilter.Filter
	// Retag is what a tag is called at the targets: itself with a prefix and a suffix. Targets with a tag of their own keep that.
	Retag Retag
	// Platforms are the platforms to keep, in normal form and without duplicates; empty for all.
	Platforms []image.Platform
	Moved     Moved
	// Immutable matches the tags that never move; it is the zero Filter for none.
	Immutable tagfilter.Filter
	Referrers Referrers
	// ReferrersInterval is how often to check an unchanged image for new referrers; it is positive.
	ReferrersInterval time.Duration
	// ForeignLayers also imports layers that a manifest refers to by URL.
	ForeignLayers bool
	Engine        Engine
	// ResolveServer has the target's registry resolve the tags; Engine is then EngineACR, and all tags are literals.
	ResolveServer bool
	// Timeout limits one attempt of one import; it is positive.
	Timeout time.Duration
	// Retries is how often to retry an import.
	Retries int
	// Schedule is zero for a mapping that runs only when it is new, when it changes, or on request.
	Schedule schedule.Schedule
	// Jitter is the maximum delay of a run after the scheduled time.
	Jitter time.Duration
	// Windows are when runs may begin; CutAtEnd ends those that are under way when a window ends.
	Windows  schedule.Windows
	CutAtEnd bool
	// Verify is the name of the policy for its images, [NoPolicy], or empty for the one that matches.
	Verify string
	// Priority orders mappings that are due at the same time, the highest first.
	Priority int
}

// Image is an image that a mapping names. Its targets have a tag, or its digest if it is imported without one.
type Image struct {
	Source  image.Reference
	Targets []image.Reference
}

// Retag says what stands before and after the source's tag at the targets.
type Retag struct{ Prefix, Suffix string }

// Moved says what to do with a tag that exists at the target and has another digest at the source.
type Moved string

const (
	// MovedFollow moves the target's tag too.
	MovedFollow Moved = "follow"
	// MovedRefuse keeps the target's tag and reports the move.
	MovedRefuse Moved = "refuse"
)

// Referrers says which referrers are copied with an image; the zero value is none.
type Referrers struct {
	All bool
	// Types are the artifact types to copy if All is false.
	Types []string
}
