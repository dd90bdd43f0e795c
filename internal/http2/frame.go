// SPDX-License-Identifier: Apache-2.0

package http2

import "encoding/binary"

// Preface is what a client sends first (RFC 9113, section 3.4).
const Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// frameHead is the size of a frame's head.
const frameHead = 9

// Types of frames.
const (
	frameData         = 0x0
	frameHeaders      = 0x1
	frameRSTStream    = 0x3
	framePushPromise  = 0x5
	frameContinuation = 0x9
)

// Flags of frames.
const (
	flagEndStream  = 0x1
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20
)

// frame is the head of a frame.
type frame struct {
	length      uint32
	kind, flags uint8
	stream      uint32
}

func parseFrame(b *[frameHead]byte) frame {
	return frame{
		length: uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]),
		kind:   b[3],
		flags:  b[4],
		stream: binary.BigEndian.Uint32(b[5:]) &^ (1 << 31),
	}
}

func (f *frame) has(flag uint8) bool { return f.flags&flag != 0 }

// headers reports whether the payload belongs to a header block.
func (f *frame) headers() bool {
	return f.kind == frameHeaders || f.kind == frameContinuation || f.kind == framePushPromise
}

// padded reports whether the payload begins with the length of the padding at its end.
func (f *frame) padded() bool {
	return f.has(flagPadded) && (f.kind == frameData || f.kind == frameHeaders || f.kind == framePushPromise)
}

// before is how many bytes of the payload precede the content.
func (f *frame) before() uint32 {
	n := uint32(0)
	if f.padded() {
		n++
	}
	switch {
	case f.kind == frameHeaders && f.has(flagPriority):
		n += 5
	case f.kind == framePushPromise:
		n += 4
	}
	return n
}

// plausible reports whether a frame's head is one that a program would send: what it says
// agrees with RFC 9113, section 6.
func (f *frame) plausible() bool {
	const defaultSize = 16 << 10
	connection := f.stream == 0
	switch f.kind {
	case frameData:
		return !connection && f.flags&^(flagEndStream|flagPadded) == 0
	case frameHeaders:
		return !connection && f.length <= defaultSize && f.length > 0 &&
			f.flags&^(flagEndStream|flagEndHeaders|flagPadded|flagPriority) == 0
	case 0x2: // PRIORITY
		return !connection && f.length == 5 && f.flags == 0
	case frameRSTStream:
		return !connection && f.length == 4 && f.flags == 0
	case 0x4: // SETTINGS
		return connection && f.length%6 == 0 && f.length <= 600 && (f.flags == 0 || f.flags == 1 && f.length == 0)
	case framePushPromise:
		return !connection && f.length > 4 && f.length <= defaultSize && f.flags&^(flagEndHeaders|flagPadded) == 0
	case 0x6: // PING
		return connection && f.length == 8 && f.flags&^1 == 0
	case 0x7: // GOAWAY
		return connection && f.length >= 8 && f.length <= defaultSize && f.flags == 0
	case 0x8: // WINDOW_UPDATE
		return f.length == 4 && f.flags == 0
	default:
		// CONTINUATION never comes first, and extensions prove nothing.
		return false
	}
}

// Frames reports whether bytes are whole frames, or begin with at least one whole frame and
// end within DATA. It tells where frames begin on a connection that is older than its
// inspection.
func Frames(data []byte) bool {
	if len(data) < frameHead {
		return false
	}
	for whole := false; ; whole = true {
		switch {
		case len(data) == 0:
			return whole
		case len(data) < frameHead:
			return false
		}
		f := parseFrame((*[frameHead]byte)(data))
		if !f.plausible() {
			return false
		}
		size := frameHead + int(f.length)
		if size > len(data) {
			return whole && f.kind == frameData
		}
		data = data[size:]
	}
}
