// SPDX-License-Identifier: Apache-2.0

package tls

// Extensions that are read.
const (
	extensionName       = 0
	extensionGroups     = 10
	extensionPoints     = 11
	extensionSignatures = 13
	extensionProtocols  = 16
	extensionPSK        = 41
	extensionEarlyData  = 42
	extensionVersions   = 43
)

// maxName is the length of the longest name of a host.
const maxName = 255

// Hello is what a ClientHello offers. Slices are parts of the message, as they are on the
// wire: lists without their length.
type Hello struct {
	// Version is the legacy one. Versions replaces it, if there are any.
	Version   uint16
	SessionID []byte
	// Name is the name of the server that the client asks for; nil without one.
	Name []byte
	// Named is set if the hello has the extension, whatever it says.
	Named bool
	// Protocols are the names that ALPN offers, each after its length.
	Protocols []byte
	// Versions, Ciphers, Groups and Signatures are lists of two bytes each, Points of one.
	Versions, Ciphers, Groups, Points, Signatures []byte
	// Extensions is the list of extensions, each with its type, its length and its data.
	Extensions []byte
	// EarlyData is set if the client sends data before the server answers.
	EarlyData bool
}

// ParseHello reads the body of a ClientHello. It reports whether the message is complete and
// well-formed. If it is not, h has what was read before the fault.
func ParseHello(body []byte, h *Hello) bool {
	*h = Hello{}
	c := cursor{rest: body}
	h.Version = c.uint16()
	c.take(32) // the random value
	h.SessionID = c.short()
	h.Ciphers = c.long()
	c.short() // compression
	if c.bad || len(h.SessionID) > 32 || len(h.Ciphers)%2 != 0 {
		return false
	}
	if len(c.rest) == 0 { // before extensions were invented
		return true
	}
	h.Extensions = c.long()
	if c.bad || len(c.rest) > 0 {
		return false
	}
	for c = (cursor{rest: h.Extensions}); len(c.rest) > 0; {
		kind, data := c.uint16(), c.long()
		if c.bad || !h.extension(kind, data) {
			return false
		}
	}
	return true
}

// extension reads an extension. It reports whether it is well-formed.
func (h *Hello) extension(kind uint16, data []byte) bool {
	c := cursor{rest: data}
	switch kind {
	case extensionName:
		h.Named = true
		return h.name(data)
	case extensionProtocols:
		h.Protocols = c.long()
		for list := (cursor{rest: h.Protocols}); len(list.rest) > 0; {
			if name := list.short(); list.bad || len(name) == 0 {
				h.Protocols = nil
				return false
			}
		}
	case extensionVersions:
		h.Versions = c.short()
	case extensionGroups:
		h.Groups = c.long()
	case extensionPoints:
		h.Points = c.short()
	case extensionSignatures:
		h.Signatures = c.long()
	case extensionEarlyData:
		h.EarlyData = true
		return true
	default:
		return true
	}
	even := len(h.Versions)%2 == 0 && len(h.Groups)%2 == 0 && len(h.Signatures)%2 == 0
	return !c.bad && len(c.rest) == 0 && even
}

// name reads the list of names, of which only the first is used.
func (h *Hello) name(data []byte) bool {
	c := cursor{rest: data}
	list := cursor{rest: c.long()}
	for len(list.rest) > 0 {
		kind, name := list.uint8(), list.long()
		if list.bad {
			return false
		}
		if kind == 0 && h.Name == nil && isName(name) {
			h.Name = name
		}
	}
	return !c.bad && len(c.rest) == 0
}

// isName reports whether bytes can be the name of a host.
func isName(name []byte) bool {
	if len(name) == 0 || len(name) > maxName {
		return false
	}
	for _, b := range name {
		switch {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9', b == '-', b == '.', b == '_':
		default:
			return false
		}
	}
	return true
}

// Highest is the highest version that the hello offers.
func (h *Hello) Highest() uint16 {
	highest, any := uint16(0), false
	for v := range pairs(h.Versions) {
		if !IsGREASE(v) {
			highest, any = max(highest, v), true
		}
	}
	if !any {
		return h.Version
	}
	return highest
}

// Protocol calls yield with each name that ALPN offers.
func (h *Hello) Protocol(yield func(name []byte) bool) {
	for list := (cursor{rest: h.Protocols}); len(list.rest) > 0; {
		if name := list.short(); list.bad || !yield(name) {
			return
		}
	}
}

// OfferedVersion calls yield with each version that the hello offers, in its order.
func (h *Hello) OfferedVersion(yield func(version uint16) bool) {
	if len(h.Versions) == 0 {
		yield(h.Version)
		return
	}
	for v := range pairs(h.Versions) {
		if !IsGREASE(v) && !yield(v) {
			return
		}
	}
}

// IsGREASE reports whether a value is one of those that clients send to see whether servers
// ignore what they don't know (RFC 8701).
func IsGREASE(v uint16) bool { return v&0x0f0f == 0x0a0a && v>>8 == v&0xff }

// pairs yields the numbers of a list.
func pairs(list []byte) func(yield func(uint16) bool) {
	return func(yield func(uint16) bool) {
		for ; len(list) >= 2; list = list[2:] {
			if !yield(uint16(list[0])<<8 | uint16(list[1])) {
				return
			}
		}
	}
}
