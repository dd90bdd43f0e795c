// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package shared

import "encoding/binary"

// SourceKeyOf is the key of a client: the same as set_source_key() in bpf/sources makes. The mask
// has the halves of that of the IPv6 prefix, in network byte order.
func SourceKeyOf(client *[16]uint8, netns uint32, mask *[2]uint64) SourceKey {
	key := SourceKey{Netns: netns, Family: 4}
	key.Address.Halves = [2]uint64{binary.NativeEndian.Uint64(client[:8]), binary.NativeEndian.Uint64(client[8:])}
	if key.Address.Halves[0] != 0 || [4]byte(client[8:12]) != [4]byte{0, 0, 0xff, 0xff} {
		key.Family = 6
		key.Address.Halves[0] &= mask[0]
		key.Address.Halves[1] &= mask[1]
	}
	return key
}
