// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package sockets

import "strings"

const dropReasonPrefix = "SKB_DROP_REASON_"

// ordinaryReasons marks, by number, the reasons that occur without any problem:
// QUEUE_PURGE fires when a socket with an empty transmit queue closes.
func ordinaryReasons(names map[uint32]string) [256]uint8 {
	var ordinary [256]uint8
	for number, name := range names {
		switch strings.TrimPrefix(name, dropReasonPrefix) {
		case "SKB_NOT_DROPPED_YET", "SKB_CONSUMED", "QUEUE_PURGE":
			if number < uint32(len(ordinary)) {
				ordinary[number] = 1
			}
		}
	}
	return ordinary
}

// dropReason is the kernel's name in lower case without its prefix. It is "_OTHER" for a
// number that the kernel's BTF does not name, such as a subsystem's own reason.
func dropReason(names map[uint32]string, number uint32) string {
	name, ok := names[number]
	if !ok {
		return "_OTHER"
	}
	return strings.ToLower(strings.TrimPrefix(name, dropReasonPrefix))
}
