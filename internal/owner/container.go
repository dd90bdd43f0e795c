// SPDX-License-Identifier: Apache-2.0

package owner

import "strings"

// containerOf reads the container out of a cgroup's path, as /proc/PID/cgroup or a
// cgroup mount shows it. The innermost container wins, with the innermost pod around
// it; what is below a container, such as the units of a systemd inside it, belongs
// to it. The path may be relative ("/../..") to a cgroup namespace's root. The
// result may share memory with path. A path that names no container gives the zero
// Container.
func containerOf(path string) Container {
	var (
		inner, outsidePod Container
		place             idPlace
	)
	for segment := range strings.SplitSeq(strings.TrimSuffix(path, " (deleted)"), "/") {
		unit, runtime, _ := strings.Cut(segment, ":")
		if uid := podUID(unit); uid != "" {
			outsidePod, inner = inner, Container{PodUID: uid}
		}
		// "slice:runtime:id" is what a runtime hands to systemd; without systemd it
		// becomes a directory's name as it is.
		name := strings.TrimSuffix(segment, ".scope")
		if runtime != "" {
			name = strings.ReplaceAll(runtime, ":", "-")
		}
		switch prefix, id := splitID(name, place); {
		case id == "":
		case prefix == "conmon" || strings.HasSuffix(prefix, "-conmon"):
			// The monitor of a container runs outside of it and of its pod.
			if inner.ID == "" {
				inner = outsidePod
			}
		default:
			inner.ID = id
		}
		place = place.next(segment)
	}
	return inner
}

// idPlace tells which of the weaker forms of id a path segment may have. They are
// too common in other names to be trusted everywhere.
type idPlace uint8

const (
	anywhere idPlace = iota
	belowECS
	inGarden
)

func (p idPlace) next(segment string) idPlace {
	switch {
	case segment == "ecs" || p == belowECS:
		return belowECS
	case segment == "garden", p == inGarden && (segment == "good" || segment == "bad"):
		return inGarden
	default:
		return anywhere
	}
}

// splitID parts "prefix-id", or a bare id, and returns no id when there is none.
func splitID(name string, place idPlace) (prefix, id string) {
	switch {
	case place == belowECS && isTaskID(name), place == inGarden && isGardenID(name):
		return "", name
	case isContainerID(name):
		return "", name
	}
	if dash := strings.LastIndexByte(name, '-'); dash > 0 && isContainerID(name[dash+1:]) {
		return name[:dash], name[dash+1:]
	}
	return "", ""
}

// podUID returns the pod's uid with dashes when the segment is a pod's, that is
// "pod<uid>" or "<parent>-pod<uid>.slice". A static pod's uid is 32 digits without
// dashes and stays so.
func podUID(segment string) string {
	uid, ok := strings.CutPrefix(segment, "pod")
	if !ok {
		name, isSlice := strings.CutSuffix(segment, ".slice")
		at := strings.LastIndex(name, "-pod")
		if !isSlice || at < 0 {
			return ""
		}
		uid = name[at+len("-pod"):]
	}
	if len(uid) == 32 && isHex(uid) {
		return uid
	}
	// systemd's names cannot have dashes, which stand for levels there.
	uid = strings.ReplaceAll(uid, "_", "-")
	if !isGroups(uid, 8, 4, 4, 4, 12) {
		return ""
	}
	return uid
}

func isContainerID(s string) bool { return len(s) == 64 && isHex(s) }

// isTaskID tells the ids of Fargate: 32 digits, a dash and up to ten decimals.
func isTaskID(s string) bool {
	if len(s) < 34 || len(s) > 43 || s[32] != '-' || !isHex(s[:32]) {
		return false
	}
	return strings.Trim(s[33:], "0123456789") == ""
}

// isGardenID tells the ids of Cloud Foundry: a uuid that is often cut short.
func isGardenID(s string) bool {
	return isGroups(s, 8, 4, 4, 4, 4) || isGroups(s, 8, 4, 4, 4, 12) || len(s) == 32 && isHex(s)
}

// isGroups tells hexadecimal groups of these lengths with dashes between.
func isGroups(s string, lengths ...int) bool {
	for i, length := range lengths {
		if i > 0 {
			if s == "" || s[0] != '-' {
				return false
			}
			s = s[1:]
		}
		if len(s) < length || !isHex(s[:length]) {
			return false
		}
		s = s[length:]
	}
	return s == ""
}

// isHex tells lower-case hexadecimal digits, the only case runtimes use.
func isHex(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }
