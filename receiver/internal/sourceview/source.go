// SPDX-License-Identifier: Apache-2.0

package sourceview

import (
	"strconv"

	"github.com/ebpftcp/ebpftcpreceiver/internal/source"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
)

// counts are the attributes of a source's counts, and their short names.
var counts = [source.Counts]struct {
	attribute declared.Attribute
	short     string
}{
	source.SYNListening:    {declared.AttrSourceSYNListeningCount, "syn"},
	source.SYNClosed:       {declared.AttrSourceSYNClosedCount, "syn_closed"},
	source.FlagsNull:       {declared.AttrSourceFlagsNullCount, "null"},
	source.FlagsFIN:        {declared.AttrSourceFlagsFinCount, "fin"},
	source.FlagsXmas:       {declared.AttrSourceFlagsXmasCount, "xmas"},
	source.FlagsSYNFIN:     {declared.AttrSourceFlagsSYNFinCount, "syn_fin"},
	source.FlagsSYNRST:     {declared.AttrSourceFlagsSYNRstCount, "syn_rst"},
	source.Malformed:       {declared.AttrSourceMalformedCount, "malformed"},
	source.PortZero:        {declared.AttrSourcePortZeroCount, "port_zero"},
	source.Land:            {declared.AttrSourceLandCount, "land"},
	source.ResetSYN:        {declared.AttrSourceResetSYNCount, "refused"},
	source.ResetSYNACK:     {declared.AttrSourceResetSYNAckCount, "reset_syn_ack"},
	source.ResetFlags:      {declared.AttrSourceResetFlagsCount, "reset_flags"},
	source.ResetOther:      {declared.AttrSourceResetOtherCount, "reset_other"},
	source.Completed:       {declared.AttrSourceCompletedCount, "completed"},
	source.HalfOpenReset:   {declared.AttrSourceHalfOpenResetCount, "half_open_reset"},
	source.HalfOpenTimeout: {declared.AttrSourceHalfOpenTimeoutCount, "half_open_timeout"},
	source.Closed:          {declared.AttrSourceClosedCount, "closed"},
	source.Unanswered:      {declared.AttrSourceUnansweredCount, "unanswered"},
}

// Source makes a view of what a source did.
func (v *Viewer) Source(s *source.Source) *View {
	view := v.begin(declared.EventSource, s.Time, s.NetNS)
	if s.Rest > 0 {
		view.write(strconv.FormatInt(s.Rest, 10))
		view.write("other sources")
		view.int(declared.AttrSourceRestCount, s.Rest)
	} else {
		view.one(s)
	}
	view.constant(declared.AttrNetworkType, declared.NetworkType(s.IPv4))
	view.constant(declared.AttrNetworkTransport, declared.TransportTCP)
	view.int(declared.AttrNetNSInode, int64(s.NetNS))
	view.double(declared.AttrSourceInterval, s.Interval.Seconds())
	for c := range source.Counts {
		if s.Absent.Has(c) {
			continue
		}
		if s.Counts[c] > 0 {
			view.number(counts[c].short, s.Counts[c])
		}
		view.int(counts[c].attribute, int64(s.Counts[c]))
	}
	return view
}

// one writes what the sum of several sources lacks.
func (v *View) one(s *source.Source) {
	v.Line = append(v.Line, ' ')
	begin := len(v.Line)
	v.Line = s.Prefix.AppendTo(v.Line)
	v.text(declared.AttrSourcePrefix, begin, len(v.Line))
	if s.Client.IsValid() {
		v.Line = append(v.Line, " from "...)
		begin = len(v.Line)
		v.Line = s.Client.AppendTo(v.Line)
		v.text(declared.AttrClientAddress, begin, len(v.Line))
	}
	if s.Ports != nil {
		v.double(declared.AttrSourceAge, s.Age.Seconds())
		v.int(declared.AttrSourcePortCount, int64(s.Ports.All))
		v.int(declared.AttrSourcePortFailedCount, int64(s.Ports.Failed))
		v.int(declared.AttrSourcePortStrayCount, int64(s.Ports.Stray))
	}
	v.live(s.Live)
}

func (v *View) live(live *source.Live) {
	if live == nil {
		return
	}
	v.int(declared.AttrSourceOpenCount, live.Open)
	v.number("open", uint64(live.Open))
	if live.Unread {
		return
	}
	v.int(declared.AttrSourceOpenSilentCount, live.Silent)
	if live.Silent > 0 {
		v.number("silent", uint64(live.Silent))
	}
	if live.ReceiveRate >= 0 {
		v.double(declared.AttrSourceReceiveRate, live.ReceiveRate)
	}
	if live.PortSilent > 0 {
		v.int(declared.AttrSourceSilentPortNumber, int64(live.Port))
		v.int(declared.AttrSourceSilentPortOpenCount, live.PortSilent)
	}
}
