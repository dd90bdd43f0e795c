// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package host

import (
	"errors"

	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/allow"
)

// errLinux: the guard runs on Linux only.
var errLinux = errors.New("only Linux tells this")

// Routes reads the routes of all tables.
func Routes() (*Addresses, error) { return nil, errLinux }

// Sessions finds the clients of ssh sessions.
type Sessions struct{ Proc string }

// Find returns the clients that are logged in.
func (Sessions) Find() ([]allow.Entry, error) { return nil, errLinux }

// Outbound finds whom this process has connected to.
type Outbound struct{}

// Find returns them.
func (*Outbound) Find() ([]allow.Entry, error) { return nil, errLinux }
