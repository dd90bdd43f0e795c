// SPDX-License-Identifier: Apache-2.0

package access

import (
	"slices"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/catalogue"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/engine"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/evidence"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/finding"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/reading"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/settings"
)

// httpAuth counts requests that were refused for who asked.
type httpAuth settings.HTTPAuth

func (*httpAuth) Events() []reading.Event { return []reading.Event{reading.HTTPRequest} }

func (d *httpAuth) Judge(m *engine.Moment) {
	denied := m.Status == 401 || m.Status == 403
	d.identity(m, denied)
	if !denied {
		return
	}
	bucket := &m.Source.Denied
	if bucket.Pour(m.Now, d.Leak) < float64(d.MinCount) {
		return
	}
	about := m.About(catalogue.HTTPAuth)
	if m.Due(about, bucket.Total) {
		f := m.Request(catalogue.HTTPAuth, bucket.Total, bucket.First)
		f.Facts = []finding.Fact{{Key: catalogue.FactRequests, Value: float64(bucket.Total)}}
		m.Report(about, f)
	}
}

// identity counts users and tokens of a source, and sources of a user or token. Nothing is kept of
// those that were never denied.
func (d *httpAuth) identity(m *engine.Moment, denied bool) {
	if m.Status == 0 || m.Status >= 400 && !denied {
		return // says nothing about who asked
	}
	if !denied && m.Source.Identities == nil && m.Identities.Len() == 0 {
		return
	}
	who := m.Identity(m.Config.Key)
	if who.Hash == 0 {
		return
	}
	d.usersOf(m, who, denied)
	d.sourcesOf(m, who, denied)
}

// usersOf counts those that one source tries.
func (d *httpAuth) usersOf(m *engine.Moment, who reading.Identity, denied bool) {
	many := m.Source.Identities
	if many == nil {
		if !denied {
			return
		}
		many = &evidence.Many{}
		m.Source.Identities = many
	}
	if !many.See(uint32(who.Hash), denied, m.Now, d.Window) || !many.Reached(d.MinUsers) {
		return
	}
	count := max(uint64(d.MinUsers), many.Count+1)
	many.Count = count
	about := m.About(catalogue.HTTPAuth)
	about.Service = usersSubject
	if m.Due(about, count) {
		f := m.Request(catalogue.HTTPAuth, count, many.Since)
		f.Facts = []finding.Fact{{Key: catalogue.FactUsers, Value: float64(count)}}
		m.Report(about, f)
	}
}

// usersSubject tells a finding about users from one about requests of the same source.
const usersSubject = 1

// sourcesOf counts those that try one user or token.
func (d *httpAuth) sourcesOf(m *engine.Moment, who reading.Identity, denied bool) {
	identity := m.Identities.Get(who.Hash)
	if identity == nil {
		if !denied {
			return
		}
		identity = m.Identities.Add(who.Hash)
	}
	identity.Last = max(identity.Last, m.Now)
	many := &identity.Sources
	hash := reading.Mix(m.Key.Hi ^ reading.Mix(m.Key.Lo^m.Key.Scope))
	if m.Now-many.Since >= int64(d.Window) {
		identity.Named, identity.Forged = nil, false
	}
	if !many.See(uint32(hash), denied, m.Now, d.Window) {
		return
	}
	identity.Forged = identity.Forged || m.Peer.IsValid() && m.Peer != m.Client
	if identity.WorthKeeping() {
		m.Identities.Keep(who.Hash)
	}
	if len(identity.Named) < engine.MaxNamed {
		identity.Named = append(identity.Named, m.Text(m.Client))
	}
	if many.Reached(d.MinSources) {
		d.tellSources(m, who, identity)
	}
}

func (d *httpAuth) tellSources(m *engine.Moment, who reading.Identity, identity *evidence.Identity) {
	many := &identity.Sources
	many.Count = max(uint64(d.MinSources), many.Count+1)
	about := finding.Subject{Rule: uint8(catalogue.HTTPAuth), Lo: who.Hash, Service: usersSubject + 1}
	if !m.Due(about, many.Count) {
		return
	}
	f := m.Request(catalogue.HTTPAuth, many.Count, many.Since).OfSet(slices.Clone(identity.Named), len(many.Denied))
	f.Spoofable, f.User = identity.Forged, string([]byte(who.User))
	f.Facts = []finding.Fact{{Key: catalogue.FactSources, Value: float64(len(many.Denied))}}
	m.Book.Report(about, f)
}
