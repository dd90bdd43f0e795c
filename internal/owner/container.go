// SPDX-License-Identifier: Apache-2.0

package owner

import (
	"strconv"
	"strings"
)

// containerOf reads the container from a cgroup's path, as /proc/PID/cgroup or a cgroup
// mount shows it. The innermost container wins, with the innermost pod around it.
// Cgroups below a container, such as units of a systemd inside it, belong to it. The
// path may be relative ("/../..") to a cgroup namespace's root. The result may share
// memory with path. It is zero if the path names no container.
func containerOf(path string) Container {
	found, _ := locate(path)
	return found
}

// locate also returns where the segment begins that names the container. The users who
// may create directories above it choose that name.
func locate(path string) (found Container, at int) {
	var s search
	for segment := range strings.SplitSeq(strings.TrimSuffix(path, " (deleted)"), "/") {
		s.take(segment)
		s.offset += len(segment) + 1
	}
	return s.inner.Container, s.inner.at
}

// search goes through the segments of a path, from the root.
type search struct {
	// offset is where the segment begins.
	offset int
	// inner is the innermost container so far; outside is the one around the innermost
	// pod or machine, where its monitor runs.
	inner, outside located
	// user is set below a user's service manager.
	user  bool
	place idPlace
}

type located struct {
	Container
	at int
}

func (s *search) take(segment string) {
	unit, runtime, _ := strings.Cut(segment, ":")
	if uid := podUID(unit); uid != "" {
		s.outside, s.inner = s.inner, located{}
		s.inner.PodUID = uid
		s.locate()
	}
	// A runtime passes "slice:runtime:id" to systemd. Without systemd it becomes the
	// directory's name unchanged.
	name := strings.TrimSuffix(segment, ".scope")
	if runtime != "" {
		name = strings.ReplaceAll(runtime, ":", "-")
	}
	prefix, id := splitID(name, s.place)
	if id == "" {
		id = containerName(segment, s.place)
	}
	switch {
	case prefix == "conmon" || strings.HasSuffix(prefix, "-conmon"):
		// The monitor of a container runs outside of it and of its pod.
		if s.inner.ID == "" {
			s.inner = s.outside
		}
	case s.place == inMachine && segment == "supervisor":
		// systemd-nspawn itself.
		s.inner = s.outside
	case id != "":
		if machineName(segment) != "" {
			s.outside = s.inner
		}
		s.inner.ID = id
		s.locate()
	}
	s.user = s.user || strings.HasPrefix(segment, "user@") && strings.HasSuffix(segment, ".service")
	s.place = s.place.next(segment)
}

// locate notes that the segment names the innermost container.
func (s *search) locate() { s.inner.at, s.inner.Delegated = s.offset, s.user }

// idPlace says which of the weaker forms of id a path segment may have. Other names
// look like them, so they count only in some places.
type idPlace uint8

const (
	anywhere idPlace = iota
	belowECS
	inGarden
	inLXC
	inNomad
	inBuildKit
	inMachine
)

func (p idPlace) next(segment string) idPlace {
	switch {
	case segment == "ecs" || p == belowECS:
		return belowECS
	case segment == "garden", p == inGarden && (segment == "good" || segment == "bad"):
		return inGarden
	case segment == "lxc", segment == "lxc.payload":
		return inLXC
	case segment == "nomad.slice", segment == "nomad", p == inNomad && isNomadPartition(segment):
		return inNomad
	case segment == "buildkit":
		return inBuildKit
	case machineName(segment) != "":
		return inMachine
	default:
		return anywhere
	}
}

// containerName returns the name of a container whose id is its name.
func containerName(segment string, place idPlace) string {
	if name := machineName(segment); name != "" {
		return name
	}
	name, found := strings.CutPrefix(segment, "lxc.payload.")
	if (found || place == inLXC) && isName(name) {
		return name
	}
	return ""
}

// machineName returns systemd-machined's name of a container of systemd-nspawn or of
// libvirt's LXC. libvirt's virtual machines are no containers.
func machineName(segment string) string {
	name, found := between(segment, "machine-", ".scope")
	if !found {
		name, found = between(segment, "systemd-nspawn@", ".service")
	}
	if !found {
		return ""
	}
	name = unescapeUnit(name)
	if rest, qemu := strings.CutPrefix(name, "qemu-"); qemu && rest != "" && rest[0] >= '0' && rest[0] <= '9' {
		return ""
	}
	if !isName(name) {
		return ""
	}
	return name
}

func between(s, prefix, suffix string) (string, bool) {
	s, hasPrefix := strings.CutPrefix(s, prefix)
	s, hasSuffix := strings.CutSuffix(s, suffix)
	return s, hasPrefix && hasSuffix
}

// unescapeUnit reverses systemd's escapes of bytes that a unit's name can't contain.
func unescapeUnit(s string) string {
	if !strings.Contains(s, `\x`) {
		return s
	}
	var plain strings.Builder
	for s != "" {
		if strings.HasPrefix(s, `\x`) && len(s) >= 4 {
			if b, err := strconv.ParseUint(s[2:4], 16, 8); err == nil {
				plain.WriteByte(byte(b))
				s = s[4:]
				continue
			}
		}
		plain.WriteByte(s[0])
		s = s[1:]
	}
	return plain.String()
}

// splitID splits "prefix-id" or a bare id. The id is empty if there is none.
func splitID(name string, place idPlace) (prefix, id string) {
	switch {
	case place == belowECS && isTaskID(name), place == inGarden && isGardenID(name),
		place == inNomad && isNomadTask(name), place == inBuildKit && isBuildID(name):
		return "", name
	case isContainerID(name):
		return "", name
	}
	if dash := strings.LastIndexByte(name, '-'); dash > 0 && isContainerID(name[dash+1:]) {
		return name[:dash], name[dash+1:]
	}
	// A step of a build in dockerd, with systemd.
	if id, ok := strings.CutPrefix(name, "docker-"); ok && isBuildID(id) {
		return "docker", id
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

// isTaskID recognizes ids of Fargate: 32 digits, a dash and up to ten decimals.
func isTaskID(s string) bool {
	if len(s) < 34 || len(s) > 43 || s[32] != '-' || !isHex(s[:32]) {
		return false
	}
	return strings.Trim(s[33:], "0123456789") == ""
}

// isGardenID recognizes ids of Cloud Foundry: a uuid that is often cut short.
func isGardenID(s string) bool {
	return isGroups(s, 8, 4, 4, 4, 4) || isGroups(s, 8, 4, 4, 4, 12) || len(s) == 32 && isHex(s)
}

// isNomadPartition recognizes the cgroups that Nomad has above its tasks'.
func isNomadPartition(segment string) bool {
	switch strings.TrimSuffix(segment, ".slice") {
	case "share", "reserve", "shared", "reserved":
		return true
	default:
		return false
	}
}

// isNomadTask recognizes the uuid of an allocation, with or without a task's name.
func isNomadTask(s string) bool {
	if len(s) < 36 || !isGroups(s[:36], 8, 4, 4, 4, 12) {
		return false
	}
	task, found := strings.CutPrefix(s[36:], ".")
	return s[36:] == "" || found && isName(task)
}

// isBuildID recognizes ids of BuildKit: 25 digits of base 36.
func isBuildID(s string) bool {
	return len(s) == 25 && strings.Trim(s, "0123456789abcdefghijklmnopqrstuvwxyz") == ""
}

// isName recognizes names of containers and tasks of LXC, Incus, systemd-machined and
// Nomad.
func isName(s string) bool {
	const alphanumeric = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	return s != "" && len(s) <= 128 && strings.Trim(s[:1], alphanumeric+"_") == "" &&
		strings.Trim(s, alphanumeric+"_.-") == ""
}

// isGroups recognizes hexadecimal groups of these lengths, separated by dashes.
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

// isHex recognizes lower-case hexadecimal digits, the only case that runtimes use.
func isHex(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }
