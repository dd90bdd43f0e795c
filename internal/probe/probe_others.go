// SPDX-License-Identifier: Apache-2.0

//go:build !linux || !(amd64 || arm64)

package probe

import (
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/fact"
)

var errNotHere = errors.New("ebpf_tcp needs Linux 5.10 or newer on amd64 or arm64")

// Probe can't run here.
type Probe struct{}

// New fails: the programs are for Linux on amd64 and arm64.
func New(Config, *zap.Logger) (*Probe, error) { return nil, errNotHere }

// Diagnose fails: there is nothing to try.
func Diagnose(Config) (*Diagnosis, error) { return nil, errNotHere }

// Start fails.
func (*Probe) Start(fact.Sink) error { return errNotHere }

// Drain fails.
func (*Probe) Drain(time.Time) error { return errNotHere }

// Snapshot fails.
func (*Probe) Snapshot(func(*connection.Live)) (*Snapshot, error) { return nil, errNotHere }

// OwnNetNS is 0.
func (*Probe) OwnNetNS() uint32 { return 0 }

// Hooks is empty.
func (*Probe) Hooks() []HookState { return nil }

// MapBytes fails.
func (*Probe) MapBytes() (uint64, error) { return 0, errNotHere }

// Detach does nothing.
func (*Probe) Detach() error { return nil }

// Close does nothing.
func (*Probe) Close() error { return nil }
