// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"errors"
	"path"
	"slices"
	"strings"

	"github.com/cilium/ebpf"

	"github.com/ebpftcp/ebpftcpreceiver/internal/capability"
)

// LeftOut is why a hook is not used that the configuration leaves out. It names the key.
type LeftOut string

func (l LeftOut) Error() string { return string(l) }

// Mendable is true: the operator can change the configuration.
func (LeftOut) Mendable() bool { return true }

// Unsupported tells whether an error of New is about a kernel without what everything
// here takes.
func Unsupported(err error) bool {
	return !capability.Mendable(err) && (errors.Is(err, errors.ErrUnsupported) || errors.Is(err, ebpf.ErrNotSupported))
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
