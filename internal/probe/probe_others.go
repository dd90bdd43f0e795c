// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package probe

import (
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
)

var errNotLinux = errors.New("ebpf_tcp needs Linux 5.10 or newer: eBPF exists nowhere else")

// Probe can't run here.
type Probe struct{}

// New fails: eBPF needs Linux.
func New(Config, *zap.Logger) (*Probe, error) { return nil, errNotLinux }

// Start fails.
func (*Probe) Start(Handler) error { return errNotLinux }

// Drain fails.
func (*Probe) Drain(time.Time) error { return errNotLinux }

// Snapshot fails.
func (*Probe) Snapshot(func(*connection.Live)) (*Snapshot, error) { return nil, errNotLinux }

// Hooks is empty.
func (*Probe) Hooks() []HookState { return nil }

// Detach does nothing.
func (*Probe) Detach() error { return nil }

// Close does nothing.
func (*Probe) Close() error { return nil }
