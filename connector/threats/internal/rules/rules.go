// SPDX-License-Identifier: Apache-2.0

// Package rules has the detectors of the rules that are on, by what they look at.
package rules

import (
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/engine"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/rules/access"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/rules/load"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/rules/scan"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/rules/web"
)

// NewEngine makes an engine without state that has the detectors of the rules that are on.
func NewEngine(cfg engine.Config) *engine.Engine {
	e := engine.New(cfg)
	for _, of := range []func(*engine.Engine) []engine.Detector{scan.Detectors, load.Detectors, access.Detectors, web.Detectors} {
		for _, d := range of(e) {
			e.Add(d)
		}
	}
	return e
}
