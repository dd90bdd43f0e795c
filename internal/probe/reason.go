// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"errors"
	"path"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
)

// LeftOut is why a hook is not used that the configuration leaves out. It names the key.
type LeftOut string

func (l LeftOut) Error() string { return string(l) }

func (LeftOut) mendable() bool { return true }

// Mendable tells whether the operator of a host can do something about an error, or
// about one of those it is made of: give a capability, raise a limit, change the
// configuration. What the kernel is not built for is not mendable.
func Mendable(err error) bool {
	if m, ok := err.(interface{ mendable() bool }); ok && m.mendable() {
		return true
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		return Mendable(e.Unwrap())
	case interface{ Unwrap() []error }:
		return slices.ContainsFunc(e.Unwrap(), Mendable)
	}
	return false
}

// Unsupported tells whether an error of New is about a kernel without what everything
// here takes.
func Unsupported(err error) bool {
	return !Mendable(err) && (errors.Is(err, errors.ErrUnsupported) || errors.Is(err, ebpf.ErrNotSupported))
}

// hookError is why a hook could not be used.
type hookError struct {
	// attempted is what failed: to load or to attach.
	attempted string
	// point is the hook's name.
	point string
	err   error
}

func (e *hookError) Error() string { return e.attempted + " " + e.point + ": " + e.err.Error() }

func (e *hookError) Unwrap() error { return e.err }

// Reason is an error of a HookState without the names of the hooks: what is equal for
// hooks of one kind that are refused for one reason.
func Reason(err error) string {
	switch e := err.(type) {
	case *hookError:
		return path.Dir(e.point) + ": " + e.err.Error()
	case interface{ Unwrap() []error }:
		var causes []string
		for _, each := range e.Unwrap() {
			if cause := Reason(each); !slices.Contains(causes, cause) {
				causes = append(causes, cause)
			}
		}
		return strings.Join(causes, "; ")
	}
	return err.Error()
}

// refusals are the errors of all ways to one feature, as one line.
type refusals []error

func (r refusals) Error() string {
	lines := make([]string, len(r))
	for i, err := range r {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "; ")
}

func (r refusals) Unwrap() []error { return r }
