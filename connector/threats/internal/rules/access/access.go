// SPDX-License-Identifier: Apache-2.0

// Package access has the rules about those who try to log in.
package access

import (
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/engine"
)

// Detectors are those of the rules that are on.
func Detectors(e *engine.Engine) []engine.Detector {
	r := &e.Config.Rules
	var all []engine.Detector
	if r.LoginGuessing.Enabled {
		all = append(all, newLoginGuessing(&r.LoginGuessing))
	}
	if r.HTTPAuth.Enabled {
		all = append(all, (*httpAuth)(&r.HTTPAuth))
	}
	return all
}
