// SPDX-License-Identifier: Apache-2.0

package capability

import "slices"

// Mendable reports whether the operator of a host can remove the cause of an error, or of
// one of the errors it wraps: grant a capability, raise a limit, change the configuration.
// What the kernel was built without is not mendable.
//
// An error says so itself, by a method Mendable() bool.
func Mendable(err error) bool {
	if m, ok := err.(interface{ Mendable() bool }); ok && m.Mendable() {
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
