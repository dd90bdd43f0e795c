// SPDX-License-Identifier: Apache-2.0

package intake

import (
	"net/netip"
	"time"

	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/figures"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/shares"
)

// listenerEvent comes each interval of sources, whatever clients do.
const listenerEvent = "tcp.server.listener"

// warnAfter is how long records about connections may be missing before somebody is told.
const warnAfter = 30 * time.Second

// Why rules only count.
const (
	noRecords    = "records of tcp.server.connection.close or tcp.server.source were not seen for long enough: list the guard in the pipeline of the receiver, too"
	concentrated = "most connections come through a few addresses: name proxies and load balancers in allow"
)

// standing knows for how many a source stands. Without a judge, each stands for one.
type standing struct {
	judge  *shares.Judge
	reader *shares.Reader
	record shares.Record
	// ready tells whether enough is known, warned that it was told that records are missing.
	ready, warned bool
	// began and connections are when it began, and when a record about connections came, since boot.
	began, connections time.Duration
}

func newStanding(set *shares.Settings, now time.Duration) standing {
	if set == nil {
		return standing{}
	}
	return standing{judge: shares.New(*set), reader: shares.NewReader(), began: now, connections: now}
}

// learn takes what a record says about connections.
func (s *standing) learn(r plog.LogRecord, now time.Duration) {
	if s.judge == nil {
		return
	}
	if s.reader.Read(r, &s.record) {
		s.judge.Add(&s.record, now)
		s.connections = now
	} else if r.EventName() == listenerEvent {
		// An idle host has no others.
		s.judge.Seen(now)
		s.connections = now
	}
}

// isShared tells whether a rule must not block a source, because it stands for many. More is the
// evidence that is new.
func (s *standing) isShared(prefix netip.Prefix, more uint64, now time.Duration) (shares.Verdict, bool) {
	if s.judge == nil {
		return shares.Verdict{}, false
	}
	s.judge.Evidence(prefix, int64(more), now)
	s.judge.Opened(prefix, now, now)
	v := s.judge.Judge(prefix, now)
	return v, v.Exempt()
}

// spoofable decides on evidence that somebody else may have forged. It is none against who stands
// for many, and never blocks who was served well.
func (s *standing) spoofable(v Verdict, now time.Duration) Verdict {
	switch many := s.judge.Judge(v.Request.Prefix, now); {
	case s.judge.ServedWell(v.Request.Prefix, now):
		v.Refusal = figures.ServedWell
	case many.Exempt():
		v.Refusal, v.AllowedBy = figures.Shared, string(many.Why)
	}
	v.Lift = v.Refusal != ""
	v.Request.Limit = spoofableFor
	return v
}

// cleared notes that a source has no finding any more.
func (s *standing) cleared(source netip.Prefix) {
	if s.judge != nil {
		s.judge.Ended(source)
	}
}

// Ready tells whether rules may block: until it is known who stands for many, they only count.
func (i *Intake) Ready() bool { return i.standing.judge == nil || i.standing.ready }

// Weighed is what Weigh found out.
type Weighed struct {
	// Changed tells that Ready has changed. Why says why rules only count.
	Changed bool
	Why     string
	// Missing tells once that records have been missing for a while.
	Missing bool
}

// Weigh decides whether rules may block now.
func (i *Intake) Weigh(now time.Duration) (w Weighed) {
	s := &i.standing
	if s.judge == nil {
		return w
	}
	s.judge.Tick(now)
	if !s.judge.Ready(now) {
		w.Why = noRecords
	} else if s.judge.Concentrated(now).Concentrated {
		w.Why = concentrated
	}
	ready := w.Why == ""
	w.Changed = ready != s.ready
	s.ready = ready
	if !ready && !w.Changed && !s.warned && now-s.began > warnAfter && now-s.connections > warnAfter {
		s.warned, w.Missing = true, true
	}
	return w
}

// Shared tells whether a source is known to stand for many.
func (i *Intake) Shared(source netip.Prefix, now time.Duration) bool {
	return i.standing.judge != nil && i.standing.judge.Judge(source, now).Exempt()
}

// Served is whom no forged packet may get blocked, for a restart; nil if nobody asks for it.
func (i *Intake) Served(now time.Duration) []byte {
	if i.standing.judge == nil || len(i.set.Spoofable) == 0 {
		return nil
	}
	return i.standing.judge.Snapshot(now)
}

// Restore puts back what Served had returned, so much time ago. It must come before the first record.
func (i *Intake) Restore(served []byte, passed, now time.Duration) error {
	if i.standing.judge == nil {
		return nil
	}
	return i.standing.judge.Restore(served, passed, now)
}
