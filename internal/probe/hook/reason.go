// SPDX-License-Identifier: Apache-2.0

package hook

import (
	"errors"
	"path"
	"slices"
	"strings"

	"github.com/cilium/ebpf"

	"github.com/ebpftcp/ebpftcpreceiver/internal/capability"
)

// LeftOut says why the configuration leaves a hook out. It names the key.
type LeftOut string

func (l LeftOut) Error() string { return string(l) }

// Mendable is true: the operator can change the configuration.
func (LeftOut) Mendable() bool { return true }

// Unsupported reports whether an error means that this kernel lacks what every program
// and map needs.
func Unsupported(err error) bool {
	return !capability.Mendable(err) && (errors.Is(err, errors.ErrUnsupported) || errors.Is(err, ebpf.ErrNotSupported))
}

// Error says why a hook could not be used.
type Error struct {
	// Attempted is the step that failed, such as load or attach.
	Attempted string
	// Point is the hook's name.
	Point string
	Err   error
}

func (e *Error) Error() string { return e.Attempted + " " + e.Point + ": " + e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

// Reason is an error of a State without the names of the hooks. Hooks of one kind that are
// refused for one cause have one reason.
func Reason(err error) string {
	switch e := err.(type) {
	case *Error:
		return path.Dir(e.Point) + ": " + e.Err.Error()
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

// Refusals are the errors of all ways to one feature. They print as one line.
type Refusals []error

func (r Refusals) Error() string {
	lines := make([]string, len(r))
	for i, err := range r {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "; ")
}

func (r Refusals) Unwrap() []error { return r }
