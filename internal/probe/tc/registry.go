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
	// trial: see NewTrial.
	trial bool
}

// NewRegistry makes a registry that shares nothing with others.
func NewRegistry() *Registry { return &Registry{} }

// NewTrial makes a registry for finding out what attaches. Each program is attached to one
// interface. Nothing is followed, and the filters of dead instances stay.
func NewTrial() *Registry { return &Registry{trial: true} }

// ofThisProcess is package-level state, and the only one: receivers and connectors are made by
// factories that the distribution calls one by one, so nothing in the Collector owns them
// all. What they share belongs to the process in the kernel's eyes, too: the abstract
// sockets that name the instance and the lock, and the places on interfaces.
var ofThisProcess Registry

// ForProcess returns the registry that all components of this process share.
func ForProcess() *Registry { return &ofThisProcess }
