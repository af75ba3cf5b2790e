package result

import (
	"net/http"
	"strings"

	"github.com/draysync/dray/internal/emulator/registry"
)

// Requests are counts by kind.
type Requests struct {
	ManifestHead int `json:"manifestHead"`
	ManifestGet  int `json:"manifestGet"`
	ManifestPut  int `json:"manifestPut"`
	BlobHead     int `json:"blobHead"`
	BlobGet      int `json:"blobGet"`
	UploadPost   int `json:"uploadPost"` // without those of Mount
	UploadPatch  int `json:"uploadPatch"`
	UploadPut    int `json:"uploadPut"`
	Mount        int `json:"mount"` // whatever came of it
	Tags         int `json:"tags"`
	Referrers    int `json:"referrers"`
	Token        int `json:"token"`
	Other        int `json:"other"` // pings among them
}

// kind is a name of a count, and where it is.
type kind struct {
	name string
	of   func(*Requests) *int
}

// kinds are all counts in the order of tables.
func kinds() []kind {
	return []kind{
		{"manifest HEAD", func(r *Requests) *int { return &r.ManifestHead }},
		{"manifest GET", func(r *Requests) *int { return &r.ManifestGet }},
		{"manifest PUT", func(r *Requests) *int { return &r.ManifestPut }},
		{"blob HEAD", func(r *Requests) *int { return &r.BlobHead }},
		{"blob GET", func(r *Requests) *int { return &r.BlobGet }},
		{"upload POST", func(r *Requests) *int { return &r.UploadPost }},
		{"upload PATCH", func(r *Requests) *int { return &r.UploadPatch }},
		{"upload PUT", func(r *Requests) *int { return &r.UploadPut }},
		{"mount", func(r *Requests) *int { return &r.Mount }},
		{"tags", func(r *Requests) *int { return &r.Tags }},
		{"referrers", func(r *Requests) *int { return &r.Referrers }},
		{"token", func(r *Requests) *int { return &r.Token }},
		{"other", func(r *Requests) *int { return &r.Other }},
	}
}

// Total is the number of all requests.
func (r Requests) Total() int {
	total := 0
	for _, kind := range kinds() {
		total += *kind.of(&r)
	}
	return total
}

// Count counts a log by kind.
func Count(log []registry.Request) Requests {
	var counts Requests
	for _, request := range log {
		for _, kind := range kinds() {
			if kind.name == nameOf(request) {
				*kind.of(&counts)++
			}
		}
	}
	return counts
}

// nameOf returns the name of the count that a request is in.
func nameOf(request registry.Request) string {
	name := "other"
	switch request.Kind {
	case registry.KindManifest, registry.KindBlob:
		name = request.Kind + " " + request.Method
	case registry.KindUpload:
		name = request.Kind + " " + request.Method
		if request.Method == http.MethodPost && strings.Contains("&"+request.Query, "&mount=") {
			name = "mount"
		}
	case registry.KindTags, registry.KindReferrers, registry.KindToken:
		name = request.Kind
	}
	for _, kind := range kinds() {
		if kind.name == name {
			return name
		}
	}
	return "other"
}

// Fetched are blobs that a tool read.
type Fetched struct {
	Bytes int64 `json:"bytes"` // all, repeated ones too
	// Repeats are blobs asked for from their start once more, in whatever repository; going on in the middle is none.
	Repeats       int   `json:"repeats"`
	RepeatedBytes int64 `json:"repeatedBytes"`
}

// CountFetched looks for GETs of blobs in a log.
func CountFetched(log []registry.Request) Fetched {
	var fetched Fetched
	seen := map[string]bool{}
	for _, request := range log {
		if request.Kind != registry.KindBlob || request.Method != http.MethodGet {
			continue
		}
		switch request.Status {
		case http.StatusPartialContent:
			fetched.Bytes += request.BytesOut
		case http.StatusOK:
			fetched.Bytes += request.BytesOut
			if seen[request.Reference] {
				fetched.Repeats++
				fetched.RepeatedBytes += request.BytesOut
			}
			seen[request.Reference] = true
		}
	}
	return fetched
}

// CountSent returns the bytes of uploads in a log, accepted or not.
func CountSent(log []registry.Request) int64 {
	var sent int64
	for _, request := range log {
		if request.Kind == registry.KindUpload {
			sent += request.BytesIn
		}
	}
	return sent
}
