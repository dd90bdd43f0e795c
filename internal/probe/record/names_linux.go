// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package record

import "net"

// interfaceNames resolves the interface indexes of our own network namespace.
type interfaceNames struct {
	byIndex map[uint32]string
}

// maxInterfaceNames bounds the cache on hosts where interfaces come and go.
const maxInterfaceNames = 1024

// name is "" for an interface that is gone.
func (n *interfaceNames) name(index uint32) string {
	if name, ok := n.byIndex[index]; ok {
		return name
	}
	if n.byIndex == nil || len(n.byIndex) >= maxInterfaceNames {
		n.byIndex = make(map[uint32]string)
	}
	name := ""
	if device, err := net.InterfaceByIndex(int(index)); err == nil {
		name = device.Name
	}
	n.byIndex[index] = name
	return name
}
