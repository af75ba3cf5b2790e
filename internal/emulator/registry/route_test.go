package registry

import "testing"

func TestParseRoute(t *testing.T) {
	tests := map[string]route{
		"/v2/":                              {kind: KindPing},
		"/v2":                               {kind: KindPing},
		"/token":                            {kind: KindToken},
		"/v2/_catalog":                      {kind: KindCatalog},
		"/v2/a/tags/list":                   {KindTags, "a", ""},
		"/v2/a/b/manifests/v1":              {KindManifest, "a/b", "v1"},
		"/v2/manifests/manifests/manifests": {KindManifest, "manifests", "manifests"},
		"/v2/a/manifests/b/blobs/sha256:0":  {KindBlob, "a/manifests/b", "sha256:0"},
		"/v2/a/blobs/uploads":               {KindUpload, "a", ""},
		"/v2/a/blobs/uploads/":              {KindUpload, "a", ""},
		"/v2/a/blobs/uploads/1":             {KindUpload, "a", "1"},
		"/v2/a/referrers/sha256:0":          {KindReferrers, "a", "sha256:0"},
		"/v2/manifests/v1":                  {kind: KindOther},
		"/v2/a/b":                           {kind: KindOther},
		"/":                                 {kind: KindOther},
	}
	for path, want := range tests {
		if got := parseRoute(path); got != want {
			t.Errorf("%s: got %+v, want %+v", path, got, want)
		}
	}
}
