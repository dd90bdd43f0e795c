// SPDX-License-Identifier: Apache-2.0

// Package flow says who talks to whom.
package flow

import "net/netip"

// Flow is a connection's four-tuple from the server's side. IPv4 on an IPv6 socket is
// plain IPv4 here.
type Flow struct {
	Client netip.AddrPort
	Server netip.AddrPort
}

// IPv4 reports whether the traffic is IPv4.
func (f *Flow) IPv4() bool { return f.Server.Addr().Is4() }
