// SPDX-License-Identifier: Apache-2.0

// Package needs knows which features of the kernel side each event and metric needs, and says
// what a kernel cannot provide.
package needs

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
)

// Need lists features: every element has to be there, by any one of its features.
type Need [][]string

// OfEvent is what an event needs.
func OfEvent(e declared.Event) Need {
	return [declared.Events]Need{
		declared.EventConnectionClose:  {connections()},
		declared.EventConnectionFailed: {append(overflows(), probe.FeatureResetSent, probe.FeaturePacket)},
		declared.EventConnectionOpen:   {connections()},
		declared.EventConnectionUpdate: live(),
		declared.EventHTTPRequest:      {inspection()},
		declared.EventListener:         {queues()},
		declared.EventPacket:           {packets()},
		declared.EventSource:           {packets()},
		declared.EventTLSHandshake:     {inspection()},
	}[e]
}

// OfMetric is what a metric needs.
func OfMetric(m declared.Metric) Need {
	return [declared.Metrics]Need{
		declared.MetricForwardedPackets:              {packets()},
		declared.MetricGenAIClientTokenUsage:         {inspection()},
		declared.MetricGenAIServerRequestDuration:    {inspection()},
		declared.MetricGenAIServerTimeToFirstToken:   {inspection()},
		declared.MetricHTTPServerActiveRequests:      {inspection()},
		declared.MetricHTTPServerRequestDuration:     {inspection()},
		declared.MetricHTTPUnanswered:                {inspection()},
		declared.MetricRPCServerCallDuration:         {inspection()},
		declared.MetricAcceptDuration:                {connections(), {probe.FeatureAccept}},
		declared.MetricAcceptQueueLength:             {queues()},
		declared.MetricAcceptQueueLimit:              {queues()},
		declared.MetricAcceptQueueOverflows:          {append(overflows(), queues()...)},
		declared.MetricConnectionActive:              {connections(), {probe.FeatureLive}},
		declared.MetricConnectionClosed:              {connections()},
		declared.MetricConnectionDuration:            {connections()},
		declared.MetricConnectionFailed:              {append(overflows(), probe.FeatureResetSent, probe.FeaturePacket)},
		declared.MetricConnectionOpened:              {connections()},
		declared.MetricDrops:                         {{probe.FeatureDrop}},
		declared.MetricFragments:                     {packets()},
		declared.MetricHandshakeDuration:             {connections()},
		declared.MetricIO:                            {connections()},
		declared.MetricMalformed:                     {packets()},
		declared.MetricNamespaceAcceptQueueOverflows: {packets()},
		declared.MetricNamespaceEmbryonicResets:      {packets()},
		declared.MetricNamespaceSYNCookies:           {packets()},
		declared.MetricNamespaceSYNQueueOverflows:    {packets()},
		declared.MetricPacketIO:                      {packets()},
		declared.MetricPackets:                       {packets()},
		declared.MetricResets:                        {{probe.FeatureResetReceived, probe.FeatureResetSent}},
		declared.MetricRetransmits:                   {{probe.FeatureRetransmit, probe.FeatureSYNACKRetransmit}},
		declared.MetricRTT:                           {connections()},
		declared.MetricSYNQueueLength:                {queues()},
		declared.MetricTLSHandshakes:                 {inspection()},
	}[m]
}

// OfPackets is what a setting needs that selects or follows packets.
func OfPackets() Need { return Need{packets()} }

// OfLive is what records of open connections need.
func OfLive() Need { return live() }

// OfInspection is what inspected ports need.
func OfInspection() Need { return Need{inspection()} }

func connections() []string { return []string{probe.FeatureConnection} }

func live() Need { return Need{{probe.FeatureLive}} }

func packets() []string { return []string{probe.FeaturePacket} }

func inspection() []string { return []string{probe.FeatureInspect} }

func queues() []string { return []string{probe.FeatureQueue} }

func overflows() []string {
	return []string{probe.FeatureOverflowSYN, probe.FeatureOverflowACK, probe.FeatureOverflowACK6}
}
