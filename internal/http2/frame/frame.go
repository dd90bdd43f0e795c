// SPDX-License-Identifier: Apache-2.0

// Package frame reads the heads of frames of HTTP/2 (RFC 9113, section 4.1).
package frame

import "encoding/binary"

// Preface is what a client sends first (RFC 9113, section 3.4).
const Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// HeadBytes is the size of a frame's head.
const HeadBytes = 9

// Types of frames.
const (
	Data         = 0x0
	Headers      = 0x1
	RSTStream    = 0x3
	PushPromise  = 0x5
	GoAway       = 0x7
	Continuation = 0x9
)

// Flags of frames.
const (
	EndStream  = 0x1
	EndHeaders = 0x4
	Padded     = 0x8
	Priority   = 0x20
)

// Head is the head of a frame.
type Head struct {
	// Length is that of the payload.
	Length      uint32
	Kind, Flags uint8
	Stream      uint32
}

// Parse reads a head.
func Parse(b *[HeadBytes]byte) Head {
	return Head{
		Length: uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]),
		Kind:   b[3],
		Flags:  b[4],
		Stream: binary.BigEndian.Uint32(b[5:]) &^ (1 << 31),
	}
}

// Has reports whether a flag is set.
func (f *Head) Has(flag uint8) bool { return f.Flags&flag != 0 }

// IsBlock reports whether the payload belongs to a header block.
func (f *Head) IsBlock() bool {
	return f.Kind == Headers || f.Kind == Continuation || f.Kind == PushPromise
}

// IsPadded reports whether the payload begins with the length of the padding at its end.
func (f *Head) IsPadded() bool {
	return f.Has(Padded) && (f.Kind == Data || f.Kind == Headers || f.Kind == PushPromise)
}

// Before is how many bytes of the payload precede the content.
func (f *Head) Before() uint32 {
	n := uint32(0)
	if f.IsPadded() {
		n++
	}
	switch {
	case f.Kind == Headers && f.Has(Priority):
		n += 5
	case f.Kind == PushPromise:
		n += 4
	}
	return n
}

// Plausible reports whether a frame's head is one that a program would send: what it says
// agrees with RFC 9113, section 6.
func (f *Head) Plausible() bool {
	const defaultSize = 16 << 10
	connection := f.Stream == 0
	switch f.Kind {
	case Data:
		return !connection && f.Flags&^(EndStream|Padded) == 0
	case Headers:
		return !connection && f.Length <= defaultSize && f.Length > 0 &&
			f.Flags&^(EndStream|EndHeaders|Padded|Priority) == 0
	case 0x2: // PRIORITY
		return !connection && f.Length == 5 && f.Flags == 0
	case RSTStream:
		return !connection && f.Length == 4 && f.Flags == 0
	case 0x4: // SETTINGS
		return connection && f.Length%6 == 0 && f.Length <= 600 && (f.Flags == 0 || f.Flags == 1 && f.Length == 0)
	case PushPromise:
		return !connection && f.Length > 4 && f.Length <= defaultSize && f.Flags&^(EndHeaders|Padded) == 0
	case 0x6: // PING
		return connection && f.Length == 8 && f.Flags&^1 == 0
	case GoAway:
		return connection && f.Length >= 8 && f.Length <= defaultSize && f.Flags == 0
	case 0x8: // WINDOW_UPDATE
		return f.Length == 4 && f.Flags == 0
	default:
		// CONTINUATION never comes first, and extensions prove nothing.
		return false
	}
}

// Whole reports whether bytes are whole frames, or begin with at least one whole frame and
// end within DATA. It tells where frames begin on a connection that is older than its
// inspection.
func Whole(data []byte) bool {
	if len(data) < HeadBytes {
		return false
	}
	for whole := false; ; whole = true {
		switch {
		case len(data) == 0:
			return whole
		case len(data) < HeadBytes:
			return false
		}
		f := Parse((*[HeadBytes]byte)(data))
		if !f.Plausible() {
			return false
		}
		size := HeadBytes + int(f.Length)
		if size > len(data) {
			return whole && f.Kind == Data
		}
		data = data[size:]
	}
}
