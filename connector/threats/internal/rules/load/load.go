// SPDX-License-Identifier: Apache-2.0

// Package load has the rules about those who take a service from its clients.
package load

import (
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/engine"
)

// Detectors are those of the rules that are on.
func Detectors(e *engine.Engine) []engine.Detector {
	r := &e.Config.Rules
	var all []engine.Detector
	if r.SYNFlood.Enabled {
		all = append(all, &synFlood{&r.SYNFlood, e})
	}
	if r.Overload.Enabled {
		all = append(all, &overload{&r.Overload})
	}
	if r.SlowHold.Enabled {
		all = append(all, (*slowHold)(&r.SlowHold))
	}
	return all
}
