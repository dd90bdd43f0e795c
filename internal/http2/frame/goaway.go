// SPDX-License-Identifier: Apache-2.0

package frame

import "encoding/binary"

// Leaving is what frames of GOAWAY say: which streams the sender acts on. On those with higher
// numbers it has not acted, and never will (RFC 9113, section 6.8). Several may come, each with a
// lower number.
type Leaving struct {
	// payload are its first bytes.
	payload [4]byte
	have    uint8
	// said is set once last is the highest number that it acts on.
	said bool
	last uint32
}

// Begin begins a payload.
func (l *Leaving) Begin() { l.have = 0 }

// Read takes bytes of the payload.
func (l *Leaving) Read(data []byte) { l.have += uint8(copy(l.payload[l.have:], data)) }

// End ends the payload.
func (l *Leaving) End() {
	if l.have == 4 {
		l.said, l.last = true, binary.BigEndian.Uint32(l.payload[:])&^(1<<31)
	}
}

// Refuses reports whether a stream will not be answered.
func (l *Leaving) Refuses(id uint32) bool { return l.said && id > l.last }
