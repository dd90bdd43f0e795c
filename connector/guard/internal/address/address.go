// SPDX-License-Identifier: Apache-2.0

// Package address gives each address and each prefix one form, however it was written.
package address

import (
	"errors"
	"net/netip"
	"strings"
)

// MaxText is the length of the longest text that Parse takes, in bytes.
const MaxText = 64

// Why a text is no address. A caller may put them into a report: they contain nothing of the text.
var (
	ErrSyntax = errors.New("neither an address nor a prefix")
	ErrZone   = errors.New("an address with a zone is known on one link only")
	ErrBits   = errors.New("the prefix length is out of range")
)

// mappedBits is how many bits of an IPv4-mapped IPv6 address come before the IPv4 address.
const mappedBits = 96

// Parse reads an address or a prefix. An address becomes the prefix of its full length.
// The bits behind the length are cleared, and an IPv4-mapped address is an IPv4 address.
func Parse(text string) (netip.Prefix, error) {
	if len(text) == 0 || len(text) > MaxText {
		return netip.Prefix{}, ErrSyntax
	}
	if strings.IndexByte(text, '%') >= 0 {
		return netip.Prefix{}, ErrZone
	}
	if strings.IndexByte(text, '/') < 0 {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return netip.Prefix{}, ErrSyntax
		}
		return Of(addr), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, ErrSyntax
	}
	return Canonical(prefix)
}

// Canonical gives a prefix its one form.
func Canonical(prefix netip.Prefix) (netip.Prefix, error) {
	addr := prefix.Addr()
	switch {
	case !prefix.IsValid():
		return netip.Prefix{}, ErrSyntax
	case addr.Zone() != "":
		return netip.Prefix{}, ErrZone
	case addr.Is4In6() && prefix.Bits() < mappedBits:
		// Such a prefix has all of IPv4 in it, as no IPv4 prefix says.
		return netip.Prefix{}, ErrBits
	case addr.Is4In6():
		prefix = netip.PrefixFrom(addr.Unmap(), prefix.Bits()-mappedBits)
	}
	return prefix.Masked(), nil
}

// Of is an address as the prefix of its full length. It drops a zone.
func Of(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	if !addr.IsValid() {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(addr, addr.BitLen())
}

// IsSingle tells whether a prefix is one address.
func IsSingle(prefix netip.Prefix) bool {
	return prefix.IsValid() && prefix.Bits() == prefix.Addr().BitLen()
}
