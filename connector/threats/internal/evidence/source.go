// SPDX-License-Identifier: Apache-2.0

// Package evidence is what the rules keep of what they have seen: of sources, of sources on one
// host, of services. Each type is bounded. Exported fields outlive a restart.
package evidence

import (
	"net/netip"
	"slices"
	"strings"
)

// Key tells sources apart: IPv4 by address, IPv6 by prefix. Addresses that mean another host on
// each host have its hash as their scope.
type Key struct{ Hi, Lo, Scope uint64 }

// Source is what the rules keep about a source. Its exported fields outlive a restart.
type Source struct {
	// Address is the last one seen.
	Address netip.Addr
	// Last is when it was last seen.
	Last int64
	// Hosts are the names of hosts that it failed to connect to, as far as they are kept.
	Hosts []string

	Contacts Contacts
	// Kernel is the walk over the ports that the kernel counted.
	Kernel  Walk
	Logins  Recent
	Denied  Bucket
	Probing *Probing
	// Identities is nil unless a request that named a user or token was denied.
	Identities *Many
	// LoginCount, Listed, Rare, Matches and Payloads count evidence over the threshold.
	LoginCount, Listed, Rare, Matches, Payloads uint64
}

// maxHosts is how many names of hosts are kept of a source.
const maxHosts = 8

// AddHost notes the name of a host.
func (s *Source) AddHost(name string) {
	if name != "" && len(s.Hosts) < maxHosts && !slices.Contains(s.Hosts, name) {
		s.Hosts = append(s.Hosts, strings.Clone(name))
	}
}

// Sighting is what one host's kernel counted of a source. Its ports only grow: an entry of the
// kernel that begins again counts ports that were counted before.
type Sighting struct {
	Last                 int64
	Ports, Failed, Stray int64
	// Flags are segments with impossible flags, Resets segments of no connection. Strays are new
	// ports of both.
	Flags, Resets, Strays Recent
	Counts                [3]uint64
	// Segments are those of the rules that count segments.
	Segments     [4]uint64
	FirstSegment int64
	// Share is of connections to the host, for overload.
	Share Share
}

// WorthKeeping tells whether it has done more than one thing that not every client does.
func (s *Source) WorthKeeping() bool { return s.Contacts.Failed > 1 || s.Kernel.Failed > 1 }

// HasEvidence tells whether a restart must not forget it.
func (s *Source) HasEvidence() bool {
	return s.Contacts.Failed > 0 || s.Kernel.Failed > 0 || s.LoginCount > 0 || s.Listed > 0 || s.Rare > 0 || s.Matches > 0 || s.Payloads > 0 || s.Identities != nil ||
		s.Denied.Total > 0 || s.Logins != (Recent{})
}

// Clone returns a copy that shares nothing. It lacks what does not outlive a restart.
func (s *Source) Clone() Source {
	c := *s
	c.Probing = nil
	c.Identities = s.Identities.clone()
	c.Hosts = slices.Clone(s.Hosts)
	c.Contacts.Few, c.Contacts.Map = slices.Clone(s.Contacts.Few), slices.Clone(s.Contacts.Map)
	return c
}
