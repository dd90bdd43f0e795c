// SPDX-License-Identifier: Apache-2.0

package owner

import (
	"io/fs"
	"path"
	"strings"
)

// hierarchy is a mounted cgroup hierarchy.
type hierarchy struct {
	// mount is where, as a path of the fs.FS.
	mount string
	// root is the cgroup that the mount shows at its top.
	root string
	// partial is set with version 1, where a container need not use every hierarchy.
	// No container in this one does not mean that there is none.
	partial bool
	// path is the process's cgroup in this hierarchy.
	path func(*membership) string
}

// within converts a cgroup's path to one of the fs.FS. It returns false if the mount does
// not show the cgroup.
func (h *hierarchy) within(dir string) (string, bool) {
	rest, ok := strings.CutPrefix(dir, strings.TrimSuffix(h.root, "/"))
	if !ok || rest != "" && rest[0] != '/' {
		return "", false
	}
	return path.Join(h.mount, rest), true
}

// hierarchies lists those whose directories the kernel side reports: version 2, and
// of version 1 the memory controller, else pids.
func hierarchies(fsys fs.FS) []hierarchy {
	unified, memory, pids := mounted(fsys)
	if unified == nil && memory == nil && pids == nil {
		unified, memory, pids = usual(fsys)
	}
	legacy, legacyPath := memory, func(m *membership) string { return m.memory }
	if legacy == nil {
		legacy, legacyPath = pids, func(m *membership) string { return m.pids }
	}
	var all []hierarchy
	if unified != nil {
		unified.path = func(m *membership) string { return m.unified }
		all = append(all, *unified)
	}
	if legacy != nil {
		legacy.path = legacyPath
		all = append(all, *legacy)
	}
	for i := range all {
		all[i].partial = legacy != nil
	}
	return all
}

// mounted reads the mounts of this process. Of several mounts of a hierarchy, the one
// that shows most of it counts.
func mounted(fsys fs.FS) (unified, memory, pids *hierarchy) {
	data, err := fs.ReadFile(fsys, "proc/self/mountinfo")
	if err != nil {
		return nil, nil, nil
	}
	for line := range strings.Lines(string(data)) {
		where, what, _ := strings.Cut(line, " - ")
		place, device := strings.Fields(where), strings.Fields(what)
		if len(place) < 5 || len(device) < 3 {
			continue
		}
		h := &hierarchy{mount: fsPath(unescape(place[4])), root: unescape(place[3])}
		options := "," + device[2] + ","
		switch {
		case device[0] == "cgroup2":
			unified = wider(unified, h)
		case device[0] != "cgroup":
		case strings.Contains(options, ",memory,"):
			memory = wider(memory, h)
		case strings.Contains(options, ",pids,"):
			pids = wider(pids, h)
		}
	}
	return unified, memory, pids
}

// usual tries the places where systemd mounts the hierarchies.
func usual(fsys fs.FS) (unified, memory, pids *hierarchy) {
	at := func(dir, marker string) *hierarchy {
		if _, err := fs.Stat(fsys, path.Join(dir, marker)); err != nil {
			return nil
		}
		return &hierarchy{mount: dir, root: "/"}
	}
	unified = at("sys/fs/cgroup", "cgroup.controllers")
	if unified == nil {
		unified = at("sys/fs/cgroup/unified", "cgroup.controllers")
	}
	return unified, at("sys/fs/cgroup/memory", "cgroup.procs"), at("sys/fs/cgroup/pids", "cgroup.procs")
}

func wider(known, found *hierarchy) *hierarchy {
	if known == nil || len(found.root) < len(known.root) {
		return found
	}
	return known
}

// fsPath converts an absolute path to one of an fs.FS.
func fsPath(absolute string) string {
	if relative := strings.TrimPrefix(path.Clean(absolute), "/"); relative != "" {
		return relative
	}
	return "."
}

// unescape reverses mountinfo's escapes of white space and backslashes. The result does
// not keep the whole of mountinfo alive, which is long on container hosts.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return strings.Clone(s)
	}
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
