// SPDX-License-Identifier: Apache-2.0

// Package packets is the vantage point on packets. It observes inbound and outbound packets of
// interfaces: counters per interface, selected packets, and attempts to connect that fail.
// A tc.Manager attaches its programs.
package packets

// NetworkNamespaces counts the namespaces of settings.Packets.NetworkNamespaces that exist.
type NetworkNamespaces struct {
	// Attached are those in which packets are observed. Failed are those where this was
	// refused. OverLimit are those beyond settings.Limits.MaxNetworkNamespaces.
	Attached, Failed, OverLimit int
}
