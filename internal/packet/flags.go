// SPDX-License-Identifier: Apache-2.0

package packet

// Flags is the TCP flag byte.
type Flags uint8

// flagNames are in bit order, from FIN.
var flagNames = [8]string{"FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"}

// Names lists the flags that are set, in bit order.
func (f Flags) Names() []string {
	names := make([]string, 0, 3)
	for bit, name := range flagNames {
		if f&(1<<bit) != 0 {
			names = append(names, name)
		}
	}
	return names
}
