// SPDX-License-Identifier: Apache-2.0

// Package web has the rules about requests and about who sends them.
package web

import (
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/engine"
)

// Detectors are those of the rules that are on.
func Detectors(e *engine.Engine) []engine.Detector {
	r := &e.Config.Rules
	var all []engine.Detector
	if r.HTTPProbing.Enabled {
		all = append(all, newHTTPProbing(&r.HTTPProbing))
	}
	if tls := &r.TLSFingerprint; tls.Enabled && (tls.Rare || len(e.Config.Lists) > 0) {
		all = append(all, &tlsFingerprint{tls, e.Config.Lists})
	}
	if r.LiteralSignature.Enabled && e.Config.Literals != nil {
		all = append(all, newLiteralSignature(&r.LiteralSignature, e.Config.Literals))
	}
	return all
}
