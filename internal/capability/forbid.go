// SPDX-License-Identifier: Apache-2.0

package capability

import (
	"io/fs"
	"slices"
	"strings"
)

// likelyCause names what may forbid an operation that the capabilities allow: what is in
// force on this host, or else the kernel's build.
func likelyCause(root fs.FS) string {
	var inForce []string
	if mode := lockdown(root); mode != "" {
		inForce = append(inForce, "kernel lockdown ("+mode+")")
	}
	if hasSeccompFilter(root) {
		inForce = append(inForce, "a seccomp filter")
	}
	modules, known := securityModules(root)
	if len(modules) > 0 {
		inForce = append(inForce, "a security module ("+strings.Join(modules, ", ")+")")
	}
	switch {
	case len(inForce) > 0:
		return strings.Join(inForce, " or ") + " may forbid it, or the kernel's build"
	case known:
		return "the kernel's build seems to forbid it, for no lockdown, security module or seccomp filter is in force"
	default:
		return "the kernel's build may forbid it; lockdown and security modules can't be seen without securityfs"
	}
}

// lockdown returns the mode in force; "" if there is none or it is not visible.
func lockdown(root fs.FS) string {
	text, err := fs.ReadFile(root, "sys/kernel/security/lockdown")
	if err != nil {
		return ""
	}
	_, mode, _ := strings.Cut(string(text), "[")
	mode, _, _ = strings.Cut(mode, "]")
	if mode == "none" {
		return ""
	}
	return mode
}

// securityModules returns those in force that restrict more than capabilities do, and
// whether they are visible.
func securityModules(root fs.FS) ([]string, bool) {
	text, err := fs.ReadFile(root, "sys/kernel/security/lsm")
	if err != nil {
		return nil, false
	}
	all := strings.Split(strings.TrimSpace(string(text)), ",")
	return slices.DeleteFunc(all, func(name string) bool {
		return !slices.Contains([]string{"apparmor", "selinux", "smack", "tomoyo", "bpf"}, name)
	}), true
}

// hasSeccompFilter reports whether this process has a seccomp filter.
func hasSeccompFilter(root fs.FS) bool {
	text, err := fs.ReadFile(root, "proc/self/status")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		if mode, ok := strings.CutPrefix(line, "Seccomp:"); ok {
			return strings.TrimSpace(mode) == "2"
		}
	}
	return false
}
