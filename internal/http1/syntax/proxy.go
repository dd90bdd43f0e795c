// SPDX-License-Identifier: Apache-2.0

package syntax

import (
	"bytes"
	"encoding/binary"
	"net/netip"
)

const (
	proxyOne = "PROXY "
	proxyTwo = "\r\n\r\n\x00\r\nQUIT\n"
	// maxProxyLine is the longest header of version 1, by its specification.
	maxProxyLine = 107
	// maxProxyTwo is the longest header of version 2 that counts as one.
	maxProxyTwo = 16 + 4096
)

// Proxy reads the header of the PROXY protocol at the beginning of a stream. It returns the
// size of the header, 0 if there is none, and whom it names as the client. More is set if
// more bytes are needed to know.
func Proxy(data []byte) (size int, client netip.AddrPort, more bool) {
	switch {
	case starts(data, proxyOne):
		return proxyLine(data)
	case starts(data, proxyTwo):
		return proxyBinary(data)
	default:
		return 0, netip.AddrPort{}, false
	}
}

// starts reports whether data begins with a text, or is the beginning of it.
func starts(data []byte, text string) bool {
	n := min(len(data), len(text))
	return string(data[:n]) == text[:n]
}

func proxyLine(data []byte) (int, netip.AddrPort, bool) {
	n := bytes.IndexByte(data, '\n')
	if n < 0 {
		return 0, netip.AddrPort{}, len(data) < maxProxyLine
	}
	if n >= maxProxyLine {
		return 0, netip.AddrPort{}, false
	}
	words := bytes.Fields(data[:n])
	if len(words) < 6 {
		return n + 1, netip.AddrPort{}, false
	}
	address, err := netip.ParseAddr(string(words[2]))
	port, ok := number(words[4])
	if err != nil || !ok || port > 0xffff {
		return n + 1, netip.AddrPort{}, false
	}
	return n + 1, netip.AddrPortFrom(address.Unmap(), uint16(port)), false
}

func proxyBinary(data []byte) (int, netip.AddrPort, bool) {
	if len(data) < 16 {
		return 0, netip.AddrPort{}, true
	}
	size := 16 + int(binary.BigEndian.Uint16(data[14:]))
	if data[12]>>4 != 2 || size > maxProxyTwo {
		return 0, netip.AddrPort{}, false
	}
	if len(data) < size {
		return 0, netip.AddrPort{}, true
	}
	body := data[16:size]
	switch {
	case data[12]&0xf != 1:
	case data[13]>>4 == 1 && len(body) >= 12:
		return size, netip.AddrPortFrom(netip.AddrFrom4([4]byte(body)), binary.BigEndian.Uint16(body[8:])), false
	case data[13]>>4 == 2 && len(body) >= 36:
		return size, netip.AddrPortFrom(netip.AddrFrom16([16]byte(body)).Unmap(), binary.BigEndian.Uint16(body[32:])), false
	}
	return size, netip.AddrPort{}, false
}
