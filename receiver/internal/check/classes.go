// SPDX-License-Identifier: Apache-2.0

package check

import "github.com/ebpftcp/ebpftcpreceiver/internal/packet"

// Classes parses the flag classes of packets.
func Classes(f *Faults, key string, names []string) []packet.Class {
	known := make([]string, 0, packet.Classes)
	for class := range packet.Classes {
		known = append(known, class.String())
	}
	classes := make([]packet.Class, 0, len(names))
next:
	for i, name := range names {
		for class, k := range known {
			if k == name {
				classes = append(classes, packet.Class(class))
				continue next
			}
		}
		f.Add(at(key, i), "%q is unknown, allowed are %q", name, known)
	}
	return classes
}
