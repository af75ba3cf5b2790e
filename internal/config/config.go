package config

import (
	"time"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/schedule"
	"github.com/draysync/dray/internal/tagfilter"
)

// Config is what one reading of a config file says, with all defaults filled in. It is read-only.
type Config struct {
	// Path is the file's name as given to [Load].
	Path string
	// Files are the config file and all that it names by ${file:} and tls, readable or not: absolute, sorted, each once.
	Files []string
	// StateDir is where dray remembers; empty where the file does not say.
	StateDir string
	Log      Log
	Server   Server
	// Jobs is how many may run at once; it is positive.
	Jobs int
	// ShutdownGrace is how long a stop waits for what is under way; 0 for not at all.
	ShutdownGrace time.Duration
	Notifications []Notification
	Receivers     []Receiver
	// Registries are keyed by canonical host, or host/path for credentials that hold for a part of it.
	Registries map[string]Registry
	Azure      Azure
	// Mappings are in the order of the file; there is at least one, and no two have one name.
	Mappings []Mapping
}

// Log says what is logged and how.
type Log struct {
	// Level is debug, info, warn or error.
	Level string
	// Format is auto, text or json.
	Format string
}

// Mapping says what is brought where. What its file leaves out is filled in from the file's defaults.
type Mapping struct {
	Name string
	Pos  Position
	// Source is one image where it has a tag or a digest, and otherwise a repository, or with Repositories a prefix.
	Source image.Reference
	// Targets are as Source is: images, each with a tag, or with the source's digest where it arrives without one; repositories; or
	// prefixes.
	Targets []image.Reference
	// Repositories are paths below the prefixes; a glob among them has '*', '?' or '['.
	Repositories []string
	// Tags chooses tags of the repositories; it is the zero Filter where Source is one image.
	Tags tagfilter.Filter
	// Platforms are those to keep, in normal form and each once; empty for all.
	Platforms []image.Platform
	Moved     Moved
	// Immutable matches the tags that never move; it is the zero Filter for none.
	Immutable tagfilter.Filter
	Referrers Referrers
	// ReferrersInterval is how often an unchanged image is looked at for new referrers; it is positive.
	ReferrersInterval time.Duration
	// ForeignLayers brings layers that a manifest names by URLs as well.
	ForeignLayers bool
	Engine        Engine
	// ResolveServer leaves it to the target's registry to ask the source; Engine is then EngineACR, and all tags are named.
	ResolveServer bool
	// Timeout bounds one try of one import; it is positive.
	Timeout time.Duration
	// Retries is how often an import is tried again.
	Retries int
	// Schedule is zero for a mapping that runs only when it is new, or changes, or is asked for.
	Schedule schedule.Schedule
	// Jitter is how much later than its schedule, or than when it is new, the mapping may run.
	Jitter time.Duration
	// Priority orders mappings that are due at one time, the highest first.
	Priority int
}

// Moved says what to do about a tag that the target has and that points elsewhere at the source.
type Moved string

const (
	// MovedFollow moves the target's tag, too.
	MovedFollow Moved = "follow"
	// MovedRefuse leaves the target's tag where it is and reports it.
	MovedRefuse Moved = "refuse"
)

// Referrers says which referrers are copied with an image; the zero value is none.
type Referrers struct {
	All bool
	// Types are the artifact types to take where All is false.
	Types []string
}
