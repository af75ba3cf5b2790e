package peer

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// commands returns the command lines that do the work with a tool, without the program itself, and writes the config
// file where the tool has one.
func (t Tool) commands(w Work) ([][]string, error) {
	switch t.Name {
	case dray:
		return drayCommands(w)
	case regsync:
		return regsyncCommands(w)
	case skopeo:
		return skopeoCommands(w)
	case crane:
		return eachTag(w, append([]string{"copy"}, w.plain("--insecure")...)...), nil
	case oras:
		// An index comes with all its manifests; -r would look for referrers in addition.
		return eachTag(w, append([]string{"cp"}, w.plain("--from-plain-http", "--to-plain-http")...)...), nil
	case dregsy:
		return dregsyCommands(w)
	case imageSyncer:
		return imageSyncerCommands(w)
	case ocync:
		return ocyncCommands(w)
	default:
		return nil, fmt.Errorf("no tool is named %q", t.Name)
	}
}

func drayCommands(w Work) ([][]string, error) {
	var text strings.Builder
	fmt.Fprintf(&text, "version: 1\nstateDir: %q\nregistries:\n", w.stateDir())
	for _, host := range w.hosts() {
		fmt.Fprintf(&text, "  %q: {plainHTTP: %t}\n", host, w.CA == "")
	}
	text.WriteString("mappings:\n")
	for _, c := range w.Copies {
		fmt.Fprintf(&text, "  - {name: %q, source: %q, target: %q, tags: %s}\n",
			c.Target, w.source(c.Repository, ""), w.target(c.Target, ""), list(c.Tags))
	}
	file, err := w.write("dray.yaml", text.String())
	return [][]string{{"sync", "-c", file}}, err
}

// stateDir is where dray keeps what it remembers.
func (w Work) stateDir() string { return filepath.Join(w.Dir, "state") }

// hosts are both sides, once each.
func (w Work) hosts() []string {
	if w.Source == w.Target {
		return []string{w.Source}
	}
	return []string{w.Source, w.Target}
}

func regsyncCommands(w Work) ([][]string, error) {
	var text strings.Builder
	text.WriteString("version: 1\ncreds:\n")
	tls := "enabled"
	if w.CA == "" {
		tls = "disabled"
	}
	for _, host := range w.hosts() {
		fmt.Fprintf(&text, "  - {registry: %q, tls: %s}\n", host, tls)
	}
	text.WriteString("sync:\n")
	for _, c := range w.Copies {
		patterns := make([]string, len(c.Tags)) // regsync matches whole tags
		for i, tag := range c.Tags {
			patterns[i] = regexp.QuoteMeta(tag)
		}
		fmt.Fprintf(&text, "  - {source: %q, target: %q, type: repository, tags: {allow: %s}}\n",
			w.source(c.Repository, ""), w.target(c.Target, ""), list(patterns))
	}
	file, err := w.write("regsync.yaml", text.String())
	return [][]string{{"once", "-c", file}}, err
}

// skopeoCommands makes one sync for each folder of the target, since skopeo sync puts repositories below one folder and
// keeps the last part of their names. A repository that gets another last part is beyond it, and copied tag by tag.
func skopeoCommands(w Work) ([][]string, error) {
	var commands [][]string
	var folders []string
	inFolder := map[string][]Copy{}
	for _, c := range w.Copies {
		if path.Base(c.Repository) != path.Base(c.Target) {
			for _, tag := range c.Tags {
				commands = append(commands, slices.Concat(
					[]string{"--insecure-policy", "copy", "--all"}, w.plain("--src-tls-verify=false", "--dest-tls-verify=false"),
					[]string{"docker://" + w.source(c.Repository, tag), "docker://" + w.target(c.Target, tag)},
				))
			}
			continue
		}
		folder := path.Dir(c.Target)
		if inFolder[folder] == nil {
			folders = append(folders, folder)
		}
		inFolder[folder] = append(inFolder[folder], c)
	}
	for i, folder := range folders {
		file, err := w.write(fmt.Sprintf("skopeo-%d.yaml", i), skopeoFile(w, inFolder[folder]))
		if err != nil {
			return nil, err
		}
		commands = append(commands, slices.Concat(
			[]string{"--insecure-policy", "sync", "--all"}, w.plain("--src-tls-verify=false", "--dest-tls-verify=false"),
			[]string{"--src", "yaml", "--dest", "docker", file, path.Join(w.Target, folder)},
		))
	}
	return commands, nil
}

func skopeoFile(w Work, copies []Copy) string {
	var text strings.Builder
	fmt.Fprintf(&text, "%q:\n  tls-verify: %t\n  images:\n", w.Source, w.CA != "")
	for _, c := range copies {
		fmt.Fprintf(&text, "    %q: %s\n", c.Repository, list(c.Tags))
	}
	return text.String()
}

// eachTag is one command for each tag, ending in source and target.
func eachTag(w Work, arguments ...string) [][]string {
	var commands [][]string
	for _, c := range w.Copies {
		for _, tag := range c.Tags {
			command := append(arguments[:len(arguments):len(arguments)], w.source(c.Repository, tag), w.target(c.Target, tag))
			commands = append(commands, command)
		}
	}
	return commands
}

// dregsyCommands has one task; skopeo, which has to be on PATH, copies for it.
func dregsyCommands(w Work) ([][]string, error) {
	var text strings.Builder
	fmt.Fprintf(&text, "relay: skopeo\ntasks:\n  - name: bench\n    source: {registry: %q, skip-tls-verify: %t}\n    target: {registry: %q, skip-tls-verify: %[2]t}\n    mappings:\n",
		w.Source, w.CA == "", w.Target)
	for _, c := range w.Copies {
		fmt.Fprintf(&text, "      - {from: %q, to: %q, platform: all, tags: %s}\n", c.Repository, c.Target, list(c.Tags))
	}
	file, err := w.write("dregsy.yaml", text.String())
	return [][]string{{"-config=" + file}}, err
}

func imageSyncerCommands(w Work) ([][]string, error) {
	var auth, images strings.Builder
	for _, host := range w.hosts() {
		fmt.Fprintf(&auth, "%q: {insecure: %t}\n", host, w.CA == "")
	}
	for _, c := range w.Copies {
		fmt.Fprintf(&images, "%q: %q\n", w.source(c.Repository, strings.Join(c.Tags, ",")), w.target(c.Target, ""))
	}
	authFile, err := w.write("auth.yaml", auth.String())
	if err != nil {
		return nil, err
	}
	imagesFile, err := w.write("images.yaml", images.String())
	return [][]string{{"--auth", authFile, "--images", imagesFile}}, err
}

// ocyncCommands gives a token that no registry asks for: without one ocync looks for a sign-in first. ocync speaks TLS only.
func ocyncCommands(w Work) ([][]string, error) {
	if w.CA == "" {
		return nil, errors.New("ocync speaks no plain HTTP: measure it with --tls")
	}
	var text strings.Builder
	text.WriteString("registries:\n")
	fmt.Fprintf(&text, "  source: {url: %q, auth_type: static_token, token: none}\n", w.Source)
	fmt.Fprintf(&text, "  target: {url: %q, auth_type: static_token, token: none}\n", w.Target)
	text.WriteString("defaults: {source: source, targets: target}\nmappings:\n")
	for _, c := range w.Copies {
		fmt.Fprintf(&text, "  - {from: %q, to: %q, tags: {glob: %s}}\n", c.Repository, c.Target, list(c.Tags))
	}
	file, err := w.write("ocync.yaml", text.String())
	return [][]string{{"sync", "-c", file}}, err
}

// list writes strings as YAML.
func list(values []string) string {
	quoted := make([]string, len(values))
	for i, value := range values {
		quoted[i] = fmt.Sprintf("%q", value)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
