// SPDX-License-Identifier: Apache-2.0

package hook

// Names of features: State.Feature and FeatureDiagnosis.Name have them.
const (
	FeatureConnection         = "connection"
	FeatureMissedEnd          = "missed_end"
	FeatureResetReceived      = "reset_received"
	FeatureResetSent          = "reset_sent"
	FeatureRefused            = "refused"
	FeatureRetransmit         = "retransmit"
	FeatureSYNACKRetransmit   = "synack_retransmit"
	FeatureDrop               = "drop"
	FeatureAccept             = "accept"
	FeatureOwnerChange        = "owner_change"
	FeatureOverflowSYN        = "accept_queue_overflow_syn"
	FeatureOverflowACK        = "accept_queue_overflow_ack"
	FeatureOverflowACK6       = "accept_queue_overflow_ack6"
	FeatureExistingListener   = "existing_listener"
	FeatureExistingConnection = "existing_connection"
	FeatureOrphan             = "orphan"
	FeatureLive               = "live"
	FeatureQueue              = "queue"
	FeatureMember             = "member"
	FeaturePacket             = "packet"
	FeatureNetworkNamespaces  = "network_namespaces"
	FeatureInspect            = "inspect"
	FeatureSource             = "source"
)
