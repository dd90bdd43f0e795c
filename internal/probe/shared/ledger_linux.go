// SPDX-License-Identifier: Apache-2.0

package shared

import (
	"fmt"

	"github.com/cilium/ebpf"
)

// ReadLedger adds up the ledgers of all CPUs.
func ReadLedger(m *ebpf.Map) (Ledger, error) {
	var sum Ledger
	perCPU := make([]Ledger, ebpf.MustPossibleCPU())
	if err := m.Lookup(uint32(0), &perCPU); err != nil {
		return sum, fmt.Errorf("read the ledger: %w", err)
	}
	for i := range perCPU {
		sum.add(&perCPU[i])
	}
	return sum, nil
}

func (l *Ledger) add(other *Ledger) {
	l.Opened += other.Opened
	l.Adopted += other.Adopted
	for event := range l.Lost {
		l.Produced[event] += other.Produced[event]
		for cause := range l.Lost[event] {
			l.Lost[event][cause] += other.Lost[event][cause]
		}
	}
	for cause := range l.Marked {
		l.Marked[cause] += other.Marked[cause]
		l.MarksEnded[cause] += other.MarksEnded[cause]
	}
}
