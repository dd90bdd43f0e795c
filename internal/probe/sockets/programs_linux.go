// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package sockets

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/clock"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/settings"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

// programs reads the compiled hooks and iterators, and sets their constants.
func (v *Vantage) programs() (hooks, iterators *ebpf.CollectionSpec, err error) {
	if hooks, err = loadSock(); err != nil {
		return nil, nil, fmt.Errorf("read the hooks' object: %w", err)
	}
	if iterators, err = loadScan(); err != nil {
		return nil, nil, fmt.Errorf("read the scans' object: %w", err)
	}
	constants, err := v.hookConstants()
	if err != nil {
		return nil, nil, err
	}
	return hooks, iterators, errors.Join(
		shared.SetConstants(hooks, v.Config, v.Context.OwnNetNS, constants),
		shared.SetConstants(iterators, v.Config, v.Context.OwnNetNS, map[string]any{
			"attribute_process": v.Config.Process,
			"scope":             scopeNumber(v.Config.Scope),
		}),
	)
}

func (v *Vantage) hookConstants() (map[string]any, error) {
	now, err := clock.Monotonic()
	if err != nil {
		return nil, err
	}
	cfg := v.Config
	return map[string]any{
		"emit_open":                  cfg.OpenRecords,
		"track_half_open":            cfg.HalfOpen,
		"scope":                      scopeNumber(cfg.Scope),
		"track_repeated_handshakes":  cfg.Handshakes,
		"count_sources":              cfg.Sources.Enabled,
		"source_seed":                cfg.Sources.Seed,
		"source_prefix":              cfg.Sources.Mask(),
		"loaded_us":                  uint64(now.Microseconds()),
		"attribute_process":          cfg.Process,
		"ring_wakeup_bytes":          uint64(cfg.RingBytes / 4),
		"emit_failed":                cfg.FailedRecords,
		"failed_per_second":          cfg.FailedPerSecond,
		"ordinary_reasons":           ordinaryReasons(v.Host.DropReasons),
		"tracepoint_reports_refused": v.Host.ResetWithoutSocket && cfg.TCMode != settings.TCOff,
		"resets_at_egress":           cfg.Sources.Enabled && !v.Host.ResetWithoutSocket && cfg.TCMode != settings.TCOff,
		"handshake_timeout_ms":       uint32(cfg.HandshakeTimeout.Milliseconds()),
		"half_open_marks_mask":       shared.HalfOpenSets(cfg) - 1,
	}, nil
}

func scopeNumber(scope settings.Scope) uint8 {
	switch scope {
	case settings.ScopeHost:
		return uint8(shared.ScopeOwnNetns)
	case settings.ScopeInitialUserNS:
		return uint8(shared.ScopeInitialUserNs)
	default:
		return uint8(shared.ScopeAll)
	}
}
