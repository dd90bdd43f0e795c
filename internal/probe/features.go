// SPDX-License-Identifier: Apache-2.0

package probe

// Features that have a HookState each, by the name in HookState.Feature.
const (
	FeatureConnection       = "connection"
	FeatureResetReceived    = "reset_received"
	FeatureResetSent        = "reset_sent"
	FeatureRetransmit       = "retransmit"
	FeatureSYNACKRetransmit = "synack_retransmit"
	FeatureDrop             = "drop"
	FeatureAccept           = "accept"
	FeatureOverflowSYN      = "accept_queue_overflow_syn"
	FeatureOverflowACK      = "accept_queue_overflow_ack"
	FeatureOverflowACK6     = "accept_queue_overflow_ack6"
	FeatureLive             = "live"
	FeatureQueue            = "queue"
	FeaturePacket           = "packet"
)
