// SPDX-License-Identifier: Apache-2.0

package forwarded

import (
	"bytes"
	"net/netip"
	"strings"
	"unsafe"
)

// node is a hop: an address, and a port if it is not 0.
type node struct {
	address netip.Addr
	port    uint16
}

type state uint8

const (
	known state = iota
	// hidden is a hop without an address, on purpose.
	hidden
	malformed
)

// maxNode is longer than any address with brackets, port and quotes.
const maxNode = 80

// parseNode reads an address: plain, with a port, in brackets, in quotes.
func parseNode(s []byte) (node, state) {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		s = s[1 : len(s)-1]
	}
	if len(s) == 0 || len(s) > maxNode {
		return node{}, malformed
	}
	if s[0] == '_' || equalFold(s, "unknown") || isHiddenWithPort(s) {
		return node{}, hidden
	}
	host, port := s, []byte(nil)
	if s[0] == '[' {
		end := bytes.IndexByte(s, ']')
		if end < 0 || !bytes.Contains(s[:end], []byte{':'}) {
			return node{}, malformed
		}
		host = s[1:end]
		if rest := s[end+1:]; len(rest) > 0 {
			if rest[0] != ':' {
				return node{}, malformed
			}
			port = rest[1:]
			if len(port) == 0 {
				return node{}, malformed
			}
		}
	} else if i := bytes.IndexByte(s, ':'); i >= 0 && bytes.IndexByte(s[i+1:], ':') < 0 {
		// One colon: IPv4 with a port. IPv6 has two at least.
		host, port = s[:i], s[i+1:]
		if len(port) == 0 {
			return node{}, malformed
		}
	}
	return resolve(host, port)
}

func resolve(host, port []byte) (node, state) {
	address, ok := parseAddress(host)
	if !ok {
		return node{}, malformed
	}
	n := node{address: address}
	// A made-up port (_name) says nothing.
	if len(port) > 0 && port[0] != '_' {
		if n.port, ok = parsePort(port); !ok {
			return node{}, malformed
		}
	}
	return n, known
}

// parseAddress has no zones, because they name an interface of somebody else's host.
func parseAddress(s []byte) (netip.Addr, bool) {
	if bytes.IndexByte(s, '%') >= 0 {
		return netip.Addr{}, false
	}
	// The parser's errors keep the string, so a conversion would be an allocation. Nobody
	// keeps this error.
	address, err := netip.ParseAddr(unsafe.String(unsafe.SliceData(s), len(s)))
	return address.Unmap(), err == nil
}

func parsePort(s []byte) (uint16, bool) {
	if len(s) > 5 {
		return 0, false
	}
	port := 0
	for _, c := range s {
		if c < '0' || c > '9' {
			return 0, false
		}
		port = port*10 + int(c-'0')
	}
	return uint16(port), port <= 0xffff
}

// isHiddenWithPort reports whether s is "unknown" with a port.
func isHiddenWithPort(s []byte) bool {
	host, _, found := bytes.Cut(s, []byte{':'})
	return found && equalFold(host, "unknown")
}

// equalFold has no allocation, as strings of a comparison are not kept.
func equalFold(s []byte, other string) bool { return strings.EqualFold(string(s), other) }
