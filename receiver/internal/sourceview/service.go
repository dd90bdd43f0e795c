// SPDX-License-Identifier: Apache-2.0

package sourceview

import (
	"strconv"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/internal/source"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
)

var namespaceCounters = [source.NamespaceCounters]declared.Attribute{
	source.SyncookiesSent:       declared.AttrNamespaceSyncookieSentCount,
	source.TCPReqQFullDoCookies: declared.AttrNamespaceQueueFullCookieCount,
	source.TCPReqQFullDrop:      declared.AttrNamespaceQueueFullDropCount,
	source.ListenOverflows:      declared.AttrNamespaceListenOverflowCount,
	source.EmbryonicRsts:        declared.AttrNamespaceEmbryonicResetCount,
}

// Service makes a view of how a listener fared.
func (v *Viewer) Service(s *source.Service) *View {
	view := v.begin(declared.EventListener, s.Time, s.NetNS)
	address := s.Address.Addr()
	view.Line = append(view.Line, ' ')
	view.Line = s.Address.AppendTo(view.Line)
	// The text of an address and a port ends with the port. Brackets are around IPv6.
	port := strconv.Itoa(int(s.Address.Port()))
	begin, end := len(declared.EventListener.String())+1, len(view.Line)-len(port)-1
	if address.Is6() {
		begin, end = begin+1, end-1
	}
	view.text(declared.AttrServerAddress, begin, end)
	view.int(declared.AttrServerPort, int64(s.Address.Port()))
	view.constant(declared.AttrNetworkType, declared.NetworkType(address.Is4()))
	view.interval(s.NetNS, s.Interval)
	view.service(s)
	return view
}

func (v *View) service(s *source.Service) {
	for _, n := range []struct {
		short     string
		attribute declared.Attribute
		count     *uint64
	}{
		{"syn", declared.AttrListenerSYNCount, s.SYNs},
		{"completed", declared.AttrListenerCompletedCount, s.Completed},
		{"overflows", declared.AttrListenerOverflowCount, s.Overflows},
		{"open", declared.AttrListenerOpenCount, s.Open},
		{"open_answered", declared.AttrListenerOpenAnsweredCount, s.OpenAnswered},
		{"closed", declared.AttrListenerClosedCount, s.Closed},
		{"closed_answered", declared.AttrListenerClosedAnsweredCount, s.ClosedAnswered},
	} {
		count(v, n.attribute, n.count)
		if n.count != nil && *n.count > 0 {
			v.number(n.short, *n.count)
		}
	}
	count(v, declared.AttrListenerAcceptQueueLength, s.AcceptQueue)
	count(v, declared.AttrListenerAcceptQueueLimit, s.AcceptQueueLimit)
	if s.Accept > 0 {
		v.double(declared.AttrListenerAcceptDuration, s.Accept.Seconds())
	}
}

func (v *View) interval(netns uint32, interval time.Duration) {
	v.constant(declared.AttrNetworkTransport, declared.TransportTCP)
	v.int(declared.AttrNetNSInode, int64(netns))
	v.double(declared.AttrListenerInterval, interval.Seconds())
}

// Namespace makes a view of what a network namespace counted.
func (v *Viewer) Namespace(n *source.Namespace) *View {
	view := v.begin(declared.EventListener, n.Time, n.NetNS)
	view.write("network namespace")
	view.write(strconv.FormatUint(uint64(n.NetNS), 10))
	view.interval(n.NetNS, n.Interval)
	for c, n := range n.Counters {
		count(view, namespaceCounters[c], n)
		if n != nil && *n > 0 {
			view.number(source.NamespaceCounter(c).String(), *n)
		}
	}
	return view
}
