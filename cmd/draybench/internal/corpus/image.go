package corpus

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strings"

	"github.com/draysync/dray/internal/emulator/registry"
)

// The media types of what an image consists of.
const (
	mediaIndex    = "application/vnd.oci.image.index.v1+json"
	mediaManifest = "application/vnd.oci.image.manifest.v1+json"
	mediaConfig   = "application/vnd.oci.image.config.v1+json"
	mediaLayer    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

// maker makes images of a shape. It keeps the layers that the next image may share.
type maker struct {
	shape  Shape
	layers map[string]registry.Layer // by layer name
	own    string                    // repository whose layers are kept
}

func newMaker(shape Shape) *maker {
	return &maker{shape: shape, layers: map[string]registry.Layer{}}
}

// image makes the image of one tag. build sets images of one place apart: "" is the one that the corpus has there.
func (m *maker) image(r, t int, build string) registry.Image {
	var children []registry.Image
	for _, platform := range m.shape.Platforms {
		children = append(children, m.child(r, t, build, platform))
	}
	if len(children) == 1 {
		return children[0]
	}
	return index(m.shape.Platforms, children)
}

// child makes an image for one platform.
func (m *maker) child(r, t int, build, platform string) registry.Image {
	name := fmt.Sprintf("%s %s:%s %s", platform, repository(r), tag(t), build)
	layers := m.shared(r, platform)
	if m.shape.OwnLayer > 0 {
		layers = append(layers, registry.NewLayer(m.seed(name), m.shape.OwnLayer))
	}
	return single(name, platform, layers)
}

// shared returns the layers below those of an image, the lowest first.
func (m *maker) shared(r int, platform string) []registry.Layer {
	m.forget(r)
	var layers []registry.Layer
	add := func(size int64, of string) {
		if size == 0 {
			return
		}
		name := platform + " " + of
		layer, kept := m.layers[name]
		if !kept {
			layer = registry.NewLayer(m.seed(name), size)
			m.layers[name] = layer
		}
		layers = append(layers, layer)
	}
	add(m.shape.BaseLayer, "base")
	if m.shape.Families > 0 {
		add(m.shape.FamilyLayer, fmt.Sprintf("family %d", r%m.shape.Families))
	}
	add(m.shape.RepositoryLayer, repository(r))
	return layers
}

// forget drops the layers of another repository than this.
func (m *maker) forget(r int) {
	name := repository(r)
	if m.own == name {
		return
	}
	for key := range m.layers {
		if strings.HasSuffix(key, " "+m.own) {
			delete(m.layers, key)
		}
	}
	m.own = name
}

// seed makes a number of a name, another one in each version of each corpus.
func (m *maker) seed(name string) int64 {
	sum := fnv.New64a()
	_, _ = fmt.Fprintf(sum, "%s %d %s", m.shape.Name, m.shape.Version, name) // never fails
	return int64(sum.Sum64() >> 1)                                           //nolint:gosec // 63 bits
}

type platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
}

// platformOf reads "linux/amd64".
func platformOf(name string) platform {
	os, architecture, _ := strings.Cut(name, "/")
	return platform{Architecture: architecture, OS: os}
}

type descriptor struct {
	MediaType string    `json:"mediaType"`
	Digest    string    `json:"digest"`
	Size      int       `json:"size"`
	Platform  *platform `json:"platform,omitempty"`
}

// manifest is an image manifest or an index.
type manifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Config        *descriptor  `json:"config,omitempty"`
	Layers        []descriptor `json:"layers,omitempty"`
	Manifests     []descriptor `json:"manifests,omitempty"`
}

// config is the configuration of an image.
type config struct {
	Created string `json:"created"`
	platform
	Config struct {
		Labels map[string]string `json:"Labels"`
	} `json:"config"`
	RootFS struct {
		Type    string   `json:"type"`
		DiffIDs []string `json:"diff_ids"`
	} `json:"rootfs"`
}

// single makes the image of one platform. It is not the emulator's SingleArch, which hashes every layer again: here most
// layers are in many images.
func single(name, on string, layers []registry.Layer) registry.Image {
	c := config{Created: "2024-01-01T00:00:00Z", platform: platformOf(on)}
	c.Config.Labels = map[string]string{"name": name}
	c.RootFS.Type = "layers"
	m := manifest{SchemaVersion: 2, MediaType: mediaManifest}
	var image registry.Image
	for _, layer := range layers {
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, layer.DiffID)
		m.Layers = append(m.Layers, descriptor{MediaType: mediaLayer, Digest: layer.Digest, Size: len(layer.Data)})
		image.Blobs = append(image.Blobs, registry.Blob{Digest: layer.Digest, MediaType: mediaLayer, Data: layer.Data})
	}
	data := encode(c)
	m.Config = &descriptor{MediaType: mediaConfig, Digest: registry.Sum(data), Size: len(data)}
	image.Blobs = append(image.Blobs, registry.Blob{Digest: m.Config.Digest, MediaType: mediaConfig, Data: data})
	return finish(image, m)
}

// index makes one image of those for single platforms.
func index(platforms []string, children []registry.Image) registry.Image {
	m := manifest{SchemaVersion: 2, MediaType: mediaIndex}
	var all registry.Image
	for i, child := range children {
		root, on := child.Root(), platformOf(platforms[i])
		m.Manifests = append(m.Manifests, descriptor{root.MediaType, root.Digest, len(root.Body), &on})
		all.Manifests = append(all.Manifests, child.Manifests...)
		all.Blobs = append(all.Blobs, child.Blobs...)
	}
	return finish(all, m)
}

// finish adds the root.
func finish(image registry.Image, root manifest) registry.Image {
	body := encode(root)
	image.Digest = registry.Sum(body)
	image.Manifests = append(image.Manifests, registry.Manifest{Digest: image.Digest, MediaType: root.MediaType, Body: body})
	return image
}

// encode is for this package's own types, which always encode.
func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}
