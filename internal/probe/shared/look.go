// SPDX-License-Identifier: Apache-2.0

package shared

// Entry identifies the map entry of a look: its key, and what differs in a later entry with
// the same key.
func (l *ConnectionLook) Entry() [2]uint64 { return [2]uint64{l.Sk, l.Id} }

// Entry is the map entry that a look is at.
func (l *ListenerLook) Entry() [2]uint64 { return [2]uint64{l.Sk, l.Listener.Since} }

// Finish sets the outcome.
func (l *ConnectionLook) Finish(outcome LookOutcome) { l.Outcome = uint32(outcome) }

// Finish sets the outcome.
func (l *ListenerLook) Finish(outcome LookOutcome) { l.Outcome = uint32(outcome) }

// Listens is whether the listener has not ended, as far as is known.
func (l *ListenerLook) Listens() bool {
	outcome := LookOutcome(l.Outcome)
	return outcome == LookOutcomeUnread || outcome == LookOutcomeRead
}
