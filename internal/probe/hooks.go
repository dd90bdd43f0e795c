// SPDX-License-Identifier: Apache-2.0

package probe

import "github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"

// What callers see of hooks.
type (
	// HookState describes one hook: what it gives, and whether it does.
	HookState = hook.State
	// LeftOut says why the configuration leaves a hook out. It names the key.
	LeftOut = hook.LeftOut
	// FeatureDiagnosis describes one feature on one host.
	FeatureDiagnosis = hook.FeatureDiagnosis
	// WayDiagnosis describes one way to a feature.
	WayDiagnosis = hook.WayDiagnosis
	// Cause is the kind of reason why a way does not work.
	Cause = hook.Cause
)

// Kinds of reasons why a way does not work.
const (
	CauseMissing    = hook.CauseMissing
	CausePermission = hook.CausePermission
	CauseVerifier   = hook.CauseVerifier
	CauseExcluded   = hook.CauseExcluded
)

// Features that callers ask for, by HookState.Feature.
const (
	FeatureConnection       = hook.FeatureConnection
	FeatureResetReceived    = hook.FeatureResetReceived
	FeatureResetSent        = hook.FeatureResetSent
	FeatureRetransmit       = hook.FeatureRetransmit
	FeatureSYNACKRetransmit = hook.FeatureSYNACKRetransmit
	FeatureDrop             = hook.FeatureDrop
	FeatureAccept           = hook.FeatureAccept
	FeatureOverflowSYN      = hook.FeatureOverflowSYN
	FeatureOverflowACK      = hook.FeatureOverflowACK
	FeatureOverflowACK6     = hook.FeatureOverflowACK6
	FeatureLive             = hook.FeatureLive
	FeatureQueue            = hook.FeatureQueue
	FeaturePacket           = hook.FeaturePacket
	FeatureInspect          = hook.FeatureInspect
)

// CheckHookPattern returns an error for a pattern of Config.ExcludeHooks that is malformed
// or matches no hook.
func CheckHookPattern(pattern string) error { return hook.CheckPattern(pattern) }

// Reason is an error of a HookState without the names of the hooks. Hooks of one kind that
// are refused for one cause have one reason.
func Reason(err error) string { return hook.Reason(err) }

// Unsupported reports whether an error of New means that this kernel lacks what every
// program and map needs.
func Unsupported(err error) bool { return hook.Unsupported(err) }
