package watch

import (
	"os"
	"path/filepath"
	"strings"
)

// watchPaths are the paths to watch, free of symlinks. The value is true for a folder, in which names come and go, and false for a file. A
// file has a watch of its own because its folder's has no events of a write through another name, such as a hard link or a container's bind
// mount of the file.
type watchPaths map[string]bool

// maxHops limits the symlinks in one path, as the kernel does.
const maxHops = 40

func watchPathsOf(paths []string) watchPaths {
	p := watchPaths{}
	for _, path := range paths {
		p.add(path)
	}
	return p
}

// add walks the path as the kernel does, and adds the folder of every symlink on it and of the file itself. If the path ends early, it adds
// the last existing folder, where the path may continue later.
func (p watchPaths) add(path string) {
	volume := filepath.VolumeName(path)
	at := volume + string(filepath.Separator)
	rest := elements(path[len(volume):])
	for hops := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case ".":
			continue
		case "..":
			at = filepath.Dir(at)
			continue
		}
		next := filepath.Join(at, name)
		info, err := os.Lstat(next)
		switch {
		case err != nil:
			p[at] = true
			return
		case info.Mode()&os.ModeSymlink != 0:
			p[at] = true
			target, err := os.Readlink(next)
			if hops++; err != nil || hops > maxHops {
				return
			}
			if filepath.IsAbs(target) {
				volume := filepath.VolumeName(target)
				at = volume + string(filepath.Separator)
				target = target[len(volume):]
			}
			rest = append(elements(target), rest...)
		case info.IsDir():
			at = next
		default:
			p[at] = true
			if info.Mode().IsRegular() {
				p[next] = false
			}
			return
		}
	}
	p[at] = true
}

func elements(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r < 0x80 && os.IsPathSeparator(uint8(r)) })
}
