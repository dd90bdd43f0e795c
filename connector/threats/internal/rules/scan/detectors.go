// SPDX-License-Identifier: Apache-2.0

// Package scan has the rules about those who look for services, and about segments that nobody sends
// by accident.
package scan

import (
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/engine"
)

// Detectors are those of the rules that are on.
func Detectors(e *engine.Engine) []engine.Detector {
	r := &e.Config.Rules
	var all []engine.Detector
	if r.PortScan.Enabled || r.DistributedScan.Enabled {
		all = append(all, newScans(e))
	}
	if r.StealthScan.Enabled {
		all = append(all, (*stealthScan)(&r.StealthScan))
	}
	if r.OutOfStateScan.Enabled {
		all = append(all, (*outOfStateScan)(&r.OutOfStateScan))
	}
	if r.Land.Enabled || r.PortZero.Enabled || r.Bogon.Enabled || r.Malformed.Enabled {
		all = append(all, newCounts(r))
	}
	return all
}
