// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

// measurements are in the order in which they are made.
func measurements() []measurement {
	return []measurement{
		{"packets", true, measurePackets},
		{"guard", true, measureGuard},
		{"sources", true, measureSources},
		{"path", true, measurePath},
		{"inspect-packets", true, measureInspectPackets},
		{"inspect-live", true, measureInspectLive},
		{"inspect-elsewhere", true, measureInspectElsewhere},
		{"inspect-path", true, measureInspectPath},
		{"inspect-frames", true, measureFrames},
		{"inspect-rpc", true, measureRPCPath},
		{"hello", true, measureHello},
		{"inspect-memory", true, measureHalfHeads},
		{"hooks", true, measureHooks},
		{"pass", true, measurePass},
		{"systemcall", true, measureSystemCall},
		{"close-logs", false, measureLogs},
		{"close-metrics", false, measureMetrics},
		{"floor", false, measureFloor},
		{"parts", false, measureParts},
		{"keep-alive", false, measureKeepAlive},
		{"inspect-metrics", false, measureInspect},
		{"inspect-few", false, measureInspectFew},
		{"inspect-records", false, measureInspectRecords},
		{"access-log", false, measureAccessLog},
		{"peers", false, measurePeers},
		{"open", false, measureOpen},
		{"burst", false, measureBurst},
		{"floods", false, measureFloods},
		{"interfaces", false, measureInterfaces},
	}
}
