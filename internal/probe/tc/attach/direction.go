// SPDX-License-Identifier: Apache-2.0

// Package attach attaches a packet program to one place: an interface and a direction, on TCX
// or as a filter of clsact. It keeps the order among our programs, and leaves qdiscs and
// filters of others alone.
package attach

// Direction is one of the two places on an interface.
type Direction int

const (
	Ingress Direction = iota
	Egress
	// Directions is their number.
	Directions
)

func (d Direction) String() string {
	if d == Egress {
		return "egress"
	}
	return "ingress"
}
