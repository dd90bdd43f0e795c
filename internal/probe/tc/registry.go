// SPDX-License-Identifier: Apache-2.0

package tc

import "sync"

// Registry holds the managers of its users: one for each network namespace.
//
// Programs in one registry share an instance and a lock, and they run in their order.
// Two registries act like two processes.
type Registry struct {
	mu sync.Mutex
	// managers are in use, by the inode of their namespace.
	managers map[uint32]*Manager
	// trial is set by NewTrial.
	trial bool
}

// NewRegistry creates a registry that shares nothing with others.
func NewRegistry() *Registry { return &Registry{} }

// NewTrial creates a registry that finds out what attaches. It attaches each program to one
// interface, follows nothing, and keeps the filters of dead instances.
func NewTrial() *Registry { return &Registry{trial: true} }

// ofThisProcess is the only package-level state. The distribution calls the factories of
// receivers and connectors one by one, so nothing in the Collector owns them all. What they
// share also belongs to the process for the kernel: the abstract sockets of the instance and
// the lock, and the places on interfaces.
var ofThisProcess Registry

// ForProcess returns the registry that all components of this process share.
func ForProcess() *Registry { return &ofThisProcess }
