// SPDX-License-Identifier: Apache-2.0

package reading

import (
	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/vector"
)

// count takes a count of a source, and notes that the record has it.
func (c *SourceCounts) count(to *int64, as vector.Count, v pcommon.Value) Outcome {
	c.known |= 1 << as
	return integer(to, v)
}

// rate takes the rate that a source sends at.
func (c *SourceCounts) rate(v pcommon.Value) Outcome {
	c.known |= 1 << vector.ReceiveRate
	return double(&c.ReceiveRate, v)
}

// Facts are the counts as a vector is made of them. A count that the record lacks is absent.
func (c *SourceCounts) Facts() vector.Facts {
	var f vector.Facts
	for _, of := range [...]struct {
		as    vector.Count
		value int64
	}{
		{vector.SYNListening, c.SynListening},
		{vector.SYNClosed, c.SynClosed},
		{vector.FlagsNull, c.Null},
		{vector.FlagsFIN, c.Fin},
		{vector.FlagsXmas, c.Xmas},
		{vector.FlagsSYNFIN, c.SynFin},
		{vector.FlagsSYNRST, c.SynRst},
		{vector.Malformed, c.Malformed},
		{vector.PortZero, c.PortZero},
		{vector.Land, c.Land},
		{vector.ResetSYN, c.ResetSyn},
		{vector.ResetSYNACK, c.ResetSynAck},
		{vector.ResetFlags, c.ResetFlags},
		{vector.ResetOther, c.ResetOther},
		{vector.Completed, c.Completed},
		{vector.HalfOpenReset, c.HalfOpenReset},
		{vector.HalfOpenTimeout, c.HalfOpenTimeout},
		{vector.ClosedCount, c.Closed},
		{vector.Unanswered, c.Unanswered},
		{vector.Ports, c.Ports},
		{vector.PortsFailed, c.PortsFailed},
		{vector.PortsStray, c.PortStray},
		{vector.Open, c.Open},
		{vector.OpenSilent, c.OpenSilent},
	} {
		if c.known&(1<<of.as) != 0 {
			f.Set(of.as, float64(of.value))
		}
	}
	if c.known&(1<<vector.ReceiveRate) != 0 {
		f.Set(vector.ReceiveRate, c.ReceiveRate)
	}
	return f
}

// closed takes why a connection closed.
func closed(clientReset *bool, v pcommon.Value) Outcome {
	if v.Type() != pcommon.ValueTypeStr {
		return WrongType
	}
	*clientReset = v.Str() == "client_reset"
	return Read
}
