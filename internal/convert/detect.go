package convert

import (
	"strings"

	"gopkg.in/yaml.v3"
)

// shape is what a file looks like.
type shape int

const (
	shapeUnknown shape = iota
	shapeDray
	shapeRegsync
	shapeDregsy
	shapeImageSyncer // credentials, images, or both below keys of their own
	shapeCredentials // image-syncer's file of credentials alone
	shapeImages      // image-syncer's file of images alone
	shapeSkopeo
	shapeOcync
	shapeScript // with az acr import
)

func (s shape) tool() Tool {
	switch s {
	case shapeRegsync:
		return Regsync
	case shapeDregsy:
		return Dregsy
	case shapeImageSyncer, shapeCredentials, shapeImages:
		return ImageSyncer
	case shapeSkopeo:
		return Skopeo
	case shapeOcync:
		return Ocync
	case shapeScript:
		return AZ
	default:
		return ""
	}
}

// recognize tells the shape by the keys at the top, or below them where the top has names that users choose. It asks for
// nothing: every key counts as unread afterwards.
func recognize(top section) shape {
	switch {
	case top.has("mappings") && top.has("version", "stateDir"):
		return shapeDray
	case top.has("mappings") && top.has("registries", "target_groups"):
		return shapeOcync
	case top.has("mappings"):
		return shapeDray
	case top.has("sync"):
		return shapeRegsync
	case top.has("tasks"):
		return shapeDregsy
	case isKind(top.fields["images"], yaml.MappingNode) && !hasKey(top.fields["images"], "images"):
		return shapeImageSyncer
	case isKind(top.fields["auth"], yaml.MappingNode):
		return shapeImageSyncer
	}
	return recognizeEntries(top)
}

// recognizeEntries tells files whose top has hosts or images as keys.
func recognizeEntries(top section) shape {
	for _, name := range top.keys {
		v := top.fields[name]
		switch {
		case hasKey(v, "images") || hasKey(v, "images-by-tag-regex") || hasKey(v, "images-by-semver"):
			return shapeSkopeo
		case hasKey(v, "username") || hasKey(v, "password") || hasKey(v, "insecure"):
			return shapeCredentials
		case (isKind(v, yaml.ScalarNode) || isKind(v, yaml.SequenceNode)) && strings.ContainsAny(name, "/:"):
			return shapeImages
		}
	}
	return shapeUnknown
}

func isKind(v value, kind yaml.Kind) bool { return v.node != nil && v.node.Kind == kind }

func hasKey(v value, name string) bool {
	if !isKind(v, yaml.MappingNode) {
		return false
	}
	for i := 0; i < len(v.node.Content); i += 2 {
		if v.node.Content[i].Value == name {
			return true
		}
	}
	return false
}
